"""What a notice says to people who are heard, in each language."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Language(StrEnum):
    """Of the notice."""

    en = "en"
    de = "de"
    nl = "nl"
    pl = "pl"


@dataclass(frozen=True, slots=True)
class Wording:
    """A notice in one language; each field a sentence or two, said where it is true."""

    title: str
    heard: str
    deleted: str
    words_passed_on: str
    beside_sad: str
    elsewhere: str
    kept: str
    not_kept: str
    voices: str
    names_passed_on: str
    limits: str
    rights: str
    contact: str


WORDINGS: Mapping[Language, Wording] = {
    Language.en: Wording(
        title="A computer listens here and judges how sad voices sound",
        heard="A microphone is on. A program (sadstream) estimates from the voice, and from the words, how sad a "
        "person sounds. It is an emotion recognition system (EU AI Act, Article 50(3)).",
        deleted="Speech is cut into pieces of at most three seconds. Each becomes a number between 0 and 1. The "
        "sound and the words are deleted within seconds; nothing leaves but the numbers.",
        words_passed_on="Speech is cut into pieces of at most three seconds. Each becomes a number between 0 and 1. "
        "The sound is deleted within seconds; the numbers and the words that were spoken are passed on.",
        beside_sad="It may also give numbers for other emotions, and for how pleasant and how excited a voice sounds.",
        elsewhere="For this the sound goes, encrypted, to another computer of whoever runs it.",
        kept="The numbers are kept for {days} days.",
        not_kept="The program does not store the numbers.",
        voices="It knows the voices of some people who agreed to that, and scores nobody else.",
        names_passed_on="With each number goes the name of the one who spoke.",
        limits="It is often wrong. It knows nothing of anybody's health, and nobody is to be judged by it.",
        rights="You may ask for it to be paused, ask what is known about you and have it deleted, and object.",
        contact="Who is responsible, and whom to ask:",
    ),
    Language.de: Wording(
        title="Hier hört ein Computer zu und schätzt, wie traurig Stimmen klingen",
        heard="Ein Mikrofon ist eingeschaltet. Ein Programm (sadstream) schätzt aus der Stimme und aus den Worten, "
        "wie traurig jemand klingt. Es ist ein Emotionserkennungssystem (KI-Verordnung der EU, Artikel 50 Absatz 3).",
        deleted="Gesprochenes wird in Stücke von höchstens drei Sekunden geteilt. Aus jedem wird eine Zahl zwischen "
        "0 und 1. Ton und Worte werden binnen Sekunden gelöscht; weitergegeben werden nur die Zahlen.",
        words_passed_on="Gesprochenes wird in Stücke von höchstens drei Sekunden geteilt. Aus jedem wird eine Zahl "
        "zwischen 0 und 1. Der Ton wird binnen Sekunden gelöscht; die Zahlen und die gesprochenen Worte werden "
        "weitergegeben.",
        beside_sad="Es kann auch Zahlen für andere Gefühle angeben und dafür, wie angenehm und wie aufgeregt eine "
        "Stimme klingt.",
        elsewhere="Dazu geht der Ton verschlüsselt an einen anderen Rechner derer, die es betreiben.",
        kept="Die Zahlen werden {days} Tage lang aufbewahrt.",
        not_kept="Das Programm speichert die Zahlen nicht.",
        voices="Es kennt die Stimmen einiger Menschen, die dem zugestimmt haben, und bewertet sonst niemanden.",
        names_passed_on="Mit jeder Zahl wird der Name des Menschen weitergegeben, der gesprochen hat.",
        limits="Es irrt sich oft. Es weiß nichts über die Gesundheit eines Menschen, und niemand darf danach "
        "beurteilt werden.",
        rights="Sie können verlangen, dass es angehalten wird, erfragen, was über Sie bekannt ist, es löschen lassen "
        "und widersprechen.",
        contact="Verantwortlich, und Ansprechperson:",
    ),
    Language.nl: Wording(
        title="Hier luistert een computer mee die schat hoe verdrietig stemmen klinken",
        heard="Er staat een microfoon aan. Een programma (sadstream) schat uit de stem en uit de woorden hoe "
        "verdrietig iemand klinkt. Het is een systeem voor het herkennen van emoties (AI-verordening van de EU, "
        "artikel 50, lid 3).",
        deleted="Spraak wordt in stukjes van hoogstens drie seconden geknipt. Elk stukje wordt een getal tussen 0 en "
        "1. Geluid en woorden worden binnen enkele seconden gewist; alleen de getallen worden doorgegeven.",
        words_passed_on="Spraak wordt in stukjes van hoogstens drie seconden geknipt. Elk stukje wordt een getal "
        "tussen 0 en 1. Het geluid wordt binnen enkele seconden gewist; de getallen en de gesproken woorden worden "
        "doorgegeven.",
        beside_sad="Het kan ook getallen geven voor andere emoties, en voor hoe aangenaam en hoe opgewonden een stem "
        "klinkt.",
        elsewhere="Daarvoor gaat het geluid versleuteld naar een andere computer van wie het programma gebruikt.",
        kept="De getallen worden {days} dagen bewaard.",
        not_kept="Het programma bewaart de getallen niet.",
        voices="Het kent de stemmen van enkele mensen die daarmee hebben ingestemd, en beoordeelt niemand anders.",
        names_passed_on="Bij elk getal wordt de naam doorgegeven van wie er sprak.",
        limits="Het vergist zich vaak. Het weet niets over iemands gezondheid, en niemand mag erop worden beoordeeld.",
        rights="U kunt vragen om het te pauzeren, opvragen wat er over u bekend is, dat laten wissen en bezwaar maken.",
        contact="Verantwoordelijk, en bij wie u terechtkunt:",
    ),
    Language.pl: Wording(
        title="Tu słucha komputer, który ocenia, jak smutno brzmią głosy",
        heard="Mikrofon jest włączony. Program (sadstream) ocenia na podstawie głosu i słów, jak smutno brzmi dana "
        "osoba. Jest to system rozpoznawania emocji (unijny akt w sprawie sztucznej inteligencji, art. 50 ust. 3).",
        deleted="Mowa jest dzielona na fragmenty trwające najwyżej trzy sekundy. Z każdego powstaje liczba od 0 do "
        "1. Dźwięk i słowa są usuwane w ciągu kilku sekund; przekazywane są tylko liczby.",
        words_passed_on="Mowa jest dzielona na fragmenty trwające najwyżej trzy sekundy. Z każdego powstaje liczba "
        "od 0 do 1. Dźwięk jest usuwany w ciągu kilku sekund; przekazywane są liczby i wypowiedziane słowa.",
        beside_sad="Może też podawać liczby dla innych emocji oraz dla tego, jak przyjemnie i jak żywo brzmi głos.",
        elsewhere="W tym celu dźwięk trafia w postaci zaszyfrowanej na inny komputer tej samej osoby lub firmy.",
        kept="Liczby są przechowywane przez okres (w dniach): {days}.",
        not_kept="Program nie przechowuje tych liczb.",
        voices="Program zna głosy kilku osób, które się na to zgodziły, i nie ocenia nikogo innego.",
        names_passed_on="Z każdą liczbą przekazywane jest imię osoby, która mówiła.",
        limits="Program często się myli. Nic nie wie o niczyim zdrowiu i nikogo nie wolno na jego podstawie oceniać.",
        rights="Można poprosić o wstrzymanie programu, zapytać, co o nas wiadomo, zażądać usunięcia tych danych i "
        "wnieść sprzeciw.",
        contact="Kto odpowiada i do kogo się zwrócić:",
    ),
}
