package static

import (
	"maps"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

// Language is one that the pages speak.
type Language struct {
	Code string // as HTML has it
	Name string // as its speakers call it

	tag            language.Tag
	group, decimal string
	months         [12]string
	texts          map[string]string                 // by their English; nil is English
	nouns          map[string]map[plural.Form]string // by their English singular
}

// English is spoken when nobody says what he understands.
var English = &Language{
	Code: "en", Name: "English", tag: language.English, group: ",", decimal: ".",
	months: [12]string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"},
}

// Russian has everything that English has.
var Russian = &Language{
	Code: "ru", Name: "Русский", tag: language.Russian, group: "\u00a0", decimal: ",",
	months: [12]string{"янв.", "февр.", "мар.", "апр.", "мая", "июн.", "июл.", "авг.", "сент.", "окт.", "нояб.", "дек."},
	texts:  together(russianOrders, russianOperator, russianProblems),
	nouns:  russianNouns,
}

// Languages are all of them, the first one the one that is spoken when nobody says what he understands.
var Languages = []*Language{English, Russian}

// Understood returns the language for what somebody says that he understands, the best first: codes such as ru, or
// the value of an Accept-Language header. What is neither is passed over.
func Understood(said ...string) *Language {
	tags := make([]language.Tag, len(Languages))
	for i, l := range Languages {
		tags[i] = l.tag
	}
	_, i := language.MatchStrings(language.NewMatcher(tags), said...)
	return Languages[i]
}

// knows says whether a text that comes from elsewhere can be said in the language.
func (l *Language) knows(english string) bool {
	if l.texts == nil {
		return true
	}
	_, ok := l.texts[english]
	return ok
}

func together(parts ...map[string]string) map[string]string {
	all := make(map[string]string)
	for _, part := range parts {
		maps.Copy(all, part)
	}
	return all
}

// forms are a Russian noun's: with one, with a few, with many.
func forms(one, few, many string) map[plural.Form]string {
	return map[plural.Form]string{plural.One: one, plural.Few: few, plural.Many: many}
}

// Meaning is what a reason for a dead letter means in general; nil where the language is that of the data, which say it
// more precisely.
func (l *Language) Meaning(reason string) *Text {
	key := reasonKey + reason
	if _, ok := l.texts[key]; !ok {
		return nil
	}
	return &Text{key, nil}
}

// reasonKey is before the code of a reason in the catalogue.
const reasonKey = "reason "
