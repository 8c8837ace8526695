"""Letters and words that tell close relatives apart where a model of letter groups errs: Malay and Indonesian, the
written forms of Norwegian, Macedonian, Serbian and Bulgarian, Czech and Slovak, Croatian and Bosnian.

A model's answer is changed only within its group, and only for a language with more evidence than the one it named.
Words that two of a group share count for neither. The words are everyday words that the relatives spell differently;
they were written down from knowledge of the languages, not counted in any data.
"""

from __future__ import annotations

import re
from typing import Final

_WORD: Final = re.compile(r"[^\W\d_]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


GROUPS: Final[tuple[dict[str, frozenset[str]], ...]] = (
    {
        "ms": _words(
            "kerana bahawa beliau ialah boleh sahaja awak kerajaan syarikat pejabat mesyuarat polis selepas "
            "sehingga kereta iaitu peratus ogos mac jun julai disember sukan projek kempen isu menerusi "
            "turut ekoran malaysia datuk rm ramai wang berkenaan berjaya kanak tarikh cuti hospital telefon "
            "bas universiti beza cuma mahu pihak nampak perdana pelbagai tiada katanya rakyat jawatan "
            "kepimpinan pelajar pengerusi dijangka sempena kelmarin petang peniaga"
        ),
        "id": _words(
            "karena bahwa bisa menurut persen mobil kantor perusahaan saat yakni mengatakan ujar uang polisi "
            "agustus maret juni juli desember namun tim provinsi presiden proyek kampanye lewat soal sebesar "
            "hingga setelah sebelumnya kini gubernur pemerintah sekitar pihaknya jakarta indonesia rp usai "
            "warga sedangkan universitas sepak butuh ketika seperti pun ia itulah senin selasa rabu kamis "
            "jumat sabtu minggu yaitu sekadar kendati kata dia"
        ),
    },
    {
        "nn": _words(
            "ikkje eg ein eit frå kva vere vart noko berre òg saman meir medan korleis gjer seier heile "
            "mykje nokon kvar kven dette nokre fleire vore vera veit fekk kjem gjekk høgare hjå kommunar dei"
        ),
        "no": _words(
            "ikke jeg hva være noe bare også sammen mer hvordan gjør sier hele mye noen hver hvem nå flere vært "
            "vet fikk kommer gikk høyere en et fra de"
        ),
    },
    {
        "mk": _words(
            "во ќе оваа дека кои исто така биде околу врз повеќе години македонија скопје сите го му ја тоа "
            "беше овој кој со е ги им преку своите кога ако"
        ),
        "sr": _words(
            "је у ће су ова би бити који које око преко србија београд јер као после сада још било није смо "
            "сам он када али шта овај"
        ),
        "bg": _words(
            "във със са ще това този тази които който като няма повече българия софия всички бе след още от "
            "че при беше само"
        ),
        "ru": _words(
            "что это они был была были быть для если только ещё еще который его из с или при также года уже "
            "как"
        ),
    },
    {
        "cs": _words(
            "se jsem jsou byl jak pro ve který která které také nebo této tento není jako už při jeho bude "
            "aby roce kde mezi"
        ),
        "sk": _words(
            "sa som sú bol ako pre vo ktorý ktorá ktoré tiež alebo tejto tento nie už pri jeho bude aby roku "
            "kde medzi"
        ),
    },
    {
        "hr": _words(
            "tko tisuća kolovoza siječnja veljače ožujka travnja svibnja lipnja srpnja rujna listopada "
            "studenoga prosinca glazba uvjeti sustav sustava tjedan tjedna vlak zrak povijest sveučilište "
            "točno hrvatska hrvatske hrvatskoj zagreb zagrebu zagrebačke kuna vijeće nazočni mjerilo tvrtka "
            "tvrtke izvješće priopćenje općenito"
        ),
        "bs": _words(
            "hiljada sedmica sedmice historija historije univerzitet univerziteta muzika tačno uslov uslovi "
            "sistem sistema januara februara marta aprila maja juna jula augusta septembra oktobra novembra "
            "decembra bih bosna bosne bosni hercegovine sarajevo sarajevu federacije saopćenje kahva lahko "
            "entiteta opština općine izvještaj km"
        ),
    },
)  # fmt: skip
LETTERS: Final = {
    "ѓ": "mk", "ќ": "mk", "ѕ": "mk", "ђ": "sr", "ћ": "sr", "ъ": "bg", "ы": "ru", "э": "ru", "ё": "ru",
    "ě": "cs", "ř": "cs", "ů": "cs", "ľ": "sk", "ĺ": "sk", "ŕ": "sk", "ô": "sk", "ä": "sk",
}  # fmt: skip
"""Letters of one language within its group; each that occurs counts as two words."""
COMMON: Final[dict[str, frozenset[str]]] = {
    "en": _words("the of and to in is that for was with on as are be this it by from at have not which you his they"),
    "es": _words(
        "de la que el en y los se del las por un para con no una su al es lo como más pero sus le ya fue muy hay"
    ),
    "ca": _words("de la que el i en els per amb no una es un del al les va ha són com més però seva aquest ser molt"),
    "it": _words(
        "di che il la in un per è non una del con si sono della da al le gli ha più anche come ma nel alla dei"
    ),
    "fr": _words("de la le et les des en un du une que est pour qui dans par sur au plus ce ne pas il avec sont aux"),
    "pt": _words("de que a o e do da em um para com não uma os no se na por mais as dos como mas ao ele das foi são"),
    "nl": _words("de het een van en in is dat op te zijn voor met niet aan er om ook maar bij nog wordt naar uit dan"),
    "de": _words("der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden"),
    "sv": _words("och i att det som en på är av för med den till inte har de ett om men var jag från vi så kan nu"),
    "pl": _words("w i na z do się nie że jest to o po przez od za jak dla co jego tym był ale tego oraz ma są może"),
    "cs": _words("a v se na je že s z do o k ve to i si za od po jako jsou by pro byl ale který však má při"),
    "sl": _words("je in v na se za da so ki pa z ne bi tudi po s od bo kot ali iz še bil le sem do pri kar lahko ter"),
    "hr": _words("je i u na se da za od su s a koji o ne što će bi iz kao to do nije ali sa koja bio te po samo još"),
    "ro": _words("de în și a la cu pe un nu că o din care este mai pentru să au fost sunt lui ale prin se dar după"),
    "tr": _words("ve bir bu için da de ile olarak çok daha olan ne gibi en sonra kadar var değil ama o her ya mi"),
    "hu": _words("a az és hogy nem is egy meg van ez csak de már volt mint azt el még ha kell vagy ki lesz után"),
    "fi": _words("ja on ei se että oli mutta kun hän myös ovat joka ole kuin niin vain jo sen tai mitä nyt olisi"),
    "et": _words("ja on ei et ta see oli kui aga ka ning mis oma siis või seda ma nii veel kes välja juba mitte"),
    "eu": _words("eta da ez bat du ere dira izan zuen dute baina oso den hori beste gure egin behar dela zen bere"),
    "la": _words("et in est non ad ut cum quod sed si qui quae ex sunt aut enim ab esse nec per hoc quam autem"),
    "ga": _words("agus an na ar is i a go le tá bhí sé do sa ag ní nach leis atá mar ach chun raibh sin seo"),
    "tl": _words("ang ng sa na mga ay at si ni ito para kay hindi niya may siya ko mo po kung nang din ka lang"),
    "yo": _words("ni ti tí àwọn ó sì fún pé wọn lati láti náà kan nínú bí ṣe jẹ́ gbogbo rẹ̀ kò wá pẹ̀lú"),
    "tn": _words("go ba ya le mo ka e a o fa tsa gore ke wa se mme fela bone ga sa kwa batho"),
}
"""Everyday words of languages in Latin letters, for the short texts of which cld2 can say nothing."""
LEAST_COMMON: Final = 2


def _telling(group: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """The words of each language that no relative of it uses."""
    others = {code: frozenset[str]().union(*(known for name, known in group.items() if name != code)) for code in group}
    return {code: known - others[code] for code, known in group.items()}


_GROUP_OF: Final = {code: telling for group in GROUPS for telling in (_telling(group),) for code in group}
_ALIAS: Final = {"nb": "no"}


def settle(code: str, text: str) -> str:
    """``code``, or the relative of it for which letters and words of the text speak more clearly."""
    group = _GROUP_OF.get(_ALIAS.get(code, code))
    if group is None:
        return code
    lower = text.lower()
    words = _WORD.findall(lower)
    votes = {member: sum(word in known for word in words) for member, known in group.items()}
    for letter in set(lower) & LETTERS.keys():
        if LETTERS[letter] in votes:
            votes[LETTERS[letter]] += 2
    mine = _ALIAS.get(code, code)
    best = max(votes, key=lambda member: (votes[member], member == mine))
    return best if votes[best] > votes[mine] else code


def guess(text: str) -> str | None:
    """The language with most everyday words in a short text in Latin letters; None where hardly any or in a tie."""
    words = _WORD.findall(text.lower())
    votes = sorted(((sum(word in known for word in words), code) for code, known in COMMON.items()), reverse=True)
    (most, code), (second, _) = votes[:2]
    return code if most >= LEAST_COMMON and most > second else None
