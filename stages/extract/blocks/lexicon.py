"""Words that tell main text from the rest of a page: of class names, of navigation, of running prose.

Three lists, all our own choice. ``KEYWORDS`` sorts the words of class, id, role and itemprop attributes into sixteen
kinds, one bit each. ``STOP_WORDS`` of nine languages mark prose; ``BOILER_WORDS`` mark buttons, menus and notices.
The trained weights know many more words, by hash; these lists are what holds on pages unlike all training pages.
"""

from __future__ import annotations

KEYWORDS: dict[str, str] = {
    "navigation": "nav navigation menu navbar topnav subnav breadcrumb breadcrumbs crumbs pager pagination tabs "
    "toolbar topbar sitemap navi navbox dropdown megamenu skip",
    "footer": "footer foot bottom copyright legal disclaimer colophon footnote imprint impressum",
    "header": "header masthead banner logo top brand",
    "comments": "comment comments respond reply replies disqus discussion talkback commentlist commenttext livefyre "
    "commentarea responses kommentare kommentar guestbook",
    "article": "article story post entry blogpost articlebody storybody postbody entrycontent postcontent "
    "articlecontent articletext storytext hentry newsbody newstext artikel beitrag message thread topic reader",
    "content": "content body text main maincontent copy contents bodytext primary page center column inhalt contenu",
    "sidebar": "sidebar side aside rail right left secondary widget widgets module box sidebox",
    "related": "related more recommended recommend also popular trending most latest recent teaser promo promos links "
    "linklist blogroll archive archives tags tag categories category similar next previous prev mostread",
    "advertisement": "ad ads advert advertisement adv sponsor sponsored sponsors dfp gpt adsense promotion outbrain "
    "taboola anzeige werbung",
    "social": "share sharing social facebook twitter addthis sharethis tools follow like bookmark email print rss "
    "whatsapp",
    "byline": "byline author date time timestamp meta info dateline published credit credits source bio pubdate posted "
    "publishdate tagline username avatar signature profile",
    "form": "form login signin signup subscribe newsletter search register subscription poll survey cookie cookies "
    "consent modal popup overlay gdpr cart checkout basket",
    "caption": "caption captions photo image img figure gallery slideshow thumbnail thumb media video player pic "
    "picture",
    "title": "title headline heading hd subtitle subhead kicker deck standfirst summary intro lead dek teasertext",
    "hidden": "hidden hide offscreen invisible screenreader sr visuallyhidden noprint nodisplay",
    "list": "list item items grid card cards row product products results result listing price",
}
"""Kind of element -> words of its class names."""

STOP_WORDS = (
    "the of and to a in that is for it on with as was he be by at this his have are from or had not but they we an who "
    "were will been has their which she would about when there one all no if out so said what up its into than can her "
    "you your i me him them us our also do did just how some only other could after then because very "
    "der die das und ist nicht mit ein eine den von zu auf für sich des dem im auch als es wird aus sie bei nach oder "
    "hat wie werden sind man nur noch war über wir ich einer einen haben "
    "le la les et est que qui dans pour pas sur une un du au avec par plus il elle ce cette mais nous vous ont sont "
    "el los las del y en con se su como más pero sus al fue ha este lo "
    "di che non per sono della una da si nel anche dei gli "
    "o e do os um uma não com em na dos "
    "het een van dat op te zijn niet voor met "
    "i w z na się nie że do jest oraz "
    "и в не на что с по как это из за от для но"
)

BOILER_WORDS = (
    "copyright rights reserved click subscribe newsletter sign login register cookie cookies privacy policy terms "
    "share facebook twitter email print comment comments reply related advertisement sponsored follow contact "
    "sitemap rss search menu home loading read next previous more posted permalink tags filed archives categories "
    "blog password username submit buy cart shipping price views likes trackback leave report abuse download app "
    "skip updated photo photos getty reuters ap image images video videos gallery slideshow recommended trending "
    "popular latest "
    "impressum datenschutz kommentare teilen weiterlesen anzeige mehr artikel kommentar drucken autor anmelden "
    "registrieren warenkorb suche startseite newsletter "
    "partager commentaires accueil connexion rechercher panier compartir comentarios inicio buscar condividi accedi"
)
