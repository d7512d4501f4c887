package sniff

import (
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"
)

// Text that was read in the wrong encoding is found, and text in many languages is not.
func TestTwice(t *testing.T) {
	texts := []string{
		"Café, naïve, déjà vu, Übergröße, señor, œuvre, €5, “quoted” — it’s fine… ½ × ¼ ± 3° §4 ©",
		"Привет, мир. Ёж и ёлка; «кавычки» № 5. Її їжа, єнот. Дії: Ці дії, ЯЁ.",
		"Zażółć gęślą jaźń. Příliš žluťoučký kůň. İstanbul'da ağaç.",
		"天地玄黄,宇宙洪荒。日本語のテキスト。한국어 문장입니다. ภาษาไทย עברית العربية हिन्दी 🙂",
		"Ã Â are letters, and so are Ð and Ñ: SÃO, MAÑANA, Âme.",
	}
	for _, text := range texts {
		var whole Twice
		whole.Look([]byte(text))
		if whole.Runs == 0 || whole.Found != 0 {
			t.Errorf("%q: %+v", text, whole)
		}
		for name, m := range map[string]*charmap.Charmap{"1252": charmap.Windows1252, "1251": charmap.Windows1251,
			"latin": charmap.ISO8859_1} {
			if name == "1251" && !strings.Contains(text, "Привет") {
				continue
			}
			var b strings.Builder // the text as the wrong program writes it
			for _, c := range []byte(text) {
				b.WriteRune(m.DecodeByte(c))
			}
			var mangled Twice
			mangled.Look([]byte(b.String()))
			if mangled.Found*10 < mangled.Runs*7 || mangled.Found < 3 { // some bytes have no character and are lost
				t.Errorf("%s of %q: %+v", name, text, mangled)
			}
		}
	}
	var one Twice
	one.Look([]byte("itâ€™s"))
	if one.Text != "â€™" || one.Meant != "’" {
		t.Errorf("%+v", one)
	}
	one = Twice{}
	one.Look([]byte("\xff\xfe\x80 broken \xe2\x82"))
	if one.Found != 0 {
		t.Errorf("broken bytes: %+v", one)
	}
}
