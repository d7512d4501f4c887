package sniff

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// script is what is often written in an encoding.
type script struct {
	encoding string
	letters  string // the most frequent of the language; only those beyond ASCII tell anything
	latin    bool   // they stand among ASCII letters
}

// scripts are the encodings that are guessed. Of two that fit equally the first is taken.
var scripts = []script{
	{"windows-1252", "éèàêçùâîôûëïœÉÀäöüßÄÖÜáíóúñ¿¡ãõåøæÅØÆìò’‘“”–—…«»°€©·", true},
	{"windows-1250", "ąćęłńóśźżŁŚŻěščřžýáíéůúďťňőűăâîşţĄĆĘŃŹĚŠČŘŽÝ„”–’", true},
	{"windows-1254", "ğışİöüçĞŞÖÜÇâîû’“”", true},
	{"windows-1251", "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъёіїє—«»", false},
	{"koi8-r", "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё", false},
	{"windows-1253", "αοιετσνηυρπκμλςωγδθχφβξζψάέήίόύώ", false},
	{"gbk", "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生自会那后能对着事其里所去行过家十" +
		"用发天如然作方成者多日都三小军二无同么经法当起与好看学进种将还分此心前面又定见只主没公从很今气，。、：；？！“”《》（）", false},
	{"big5", "的一是不了人我在有他這為之大來以個中上們到說國和地也子時道出而要於就下得可你年生自會那後能對著事其裡所去行過家十" +
		"用發天如然作方成者多日都三小軍二無同麼經法當起與好看學進種將還分此心前面又定見只主沒公從很今氣，。、：；？！「」《》（）", false},
	{"shift_jis", "のにはをたがでとしれさあいうかもてなくるこらりっすまんどよそだけきじつえおみやわせイルンスクトラリアドーシレロ。、「」" +
		"日本人大年一国会中出行見月分後前生者", false},
	{"euc-jp", "のにはをたがでとしれさあいうかもてなくるこらりっすまんどよそだけきじつえおみやわせイルンスクトラリアドーシレロ。、「」" +
		"日本人大年一国会中出行見月分後前生者", false},
	{"euc-kr", "이다는을의에가고은로하지한기도사리자어나인대서를시들라정그수일만있보아해부으게과장원전면여년구", false},
}

const (
	guessBytes = 16 << 10 // how much text is looked at
	wideBytes  = 2 << 10  // of that, where it has NUL bytes
	leastFit   = 0.3      // share of the characters that must be letters of the script
)

// Guess returns the encoding that a text with invalid UTF-8 looks like; "" if it looks like none.
func Guess(text []byte) string {
	at := 0
	for rest := text; len(rest) > 0; rest = text[at:] { // the first fault
		r, w := utf8.DecodeRune(rest)
		if r == utf8.RuneError && w <= 1 {
			break
		}
		at += w
	}
	for back := 0; at > 0 && back < guessBytes/2 && text[at-1] < utf8.RuneSelf; back++ {
		at-- // to where no character is cut, with the letters before it
	}
	text = text[at:min(len(text), at+guessBytes)]
	best, name := leastFit, ""
	latin := amongLatin(text)
	for _, s := range scripts {
		if s.latin && latin < 0.5 || strings.HasPrefix(s.encoding, "windows-1251") && latin > 0.5 {
			continue
		}
		if fit := s.fit(text); fit > best {
			best, name = fit, s.encoding
		}
	}
	return name
}

// fit returns which share of the characters beyond ASCII is in the letters of the script; 0 if much cannot be decoded.
func (s *script) fit(text []byte) float64 {
	decoded, _ := Decoder(s.encoding).Bytes(text)
	beyond, fit, bad := 0, 0, 0
	for _, r := range string(decoded) {
		switch {
		case r < utf8.RuneSelf:
			continue
		case r == utf8.RuneError:
			bad++
		case strings.ContainsRune(s.letters, r):
			fit++
		}
		beyond++
	}
	if beyond == 0 || bad*50 > beyond+50 {
		return 0
	}
	return float64(fit) / float64(beyond)
}

// amongLatin returns which share of the bytes beyond ASCII stands beside an ASCII letter.
func amongLatin(text []byte) float64 {
	isLetter := func(i int) bool {
		return i >= 0 && i < len(text) && (text[i]|0x20 >= 'a' && text[i]|0x20 <= 'z')
	}
	beyond, among := 0, 0
	for i, b := range text {
		if b >= utf8.RuneSelf {
			beyond++
			if isLetter(i-1) || isLetter(i+1) {
				among++
			}
		}
	}
	return float64(among) / float64(max(1, beyond))
}

// wideEncoding returns the encoding of a text with NUL bytes that is UTF-16 or UTF-32 without a mark; "" if it is
// neither. Most characters must be letters, digits, blanks or those of a known script.
func wideEncoding(head []byte) string {
	if len(head) < 16 {
		return ""
	}
	best, name := 0.7, ""
	for _, encoding := range wideEncodings {
		decoded, _ := Decoder(encoding).Bytes(head[:min(len(head), wideBytes)&^3])
		n, letters, plain := 0, 0, 0
		for _, r := range string(decoded) {
			n++
			switch {
			case r >= 'a' && r <= 'z', r > 0xA0 && frequent()[r]:
				letters++
			case r >= ' ' && r < 0x7F, r == '\n', r == '\r', r == '\t':
				plain++
			}
		}
		share := float64(letters+plain) / float64(max(1, n))
		if letters*2 >= plain && share > best {
			best, name = share, encoding
		}
	}
	return name
}

var wideEncodings = []string{"utf-16le", "utf-16be", "utf-32le", "utf-32be"}

// frequent are the letters of all scripts.
var frequent = sync.OnceValue(func() map[rune]bool {
	all := map[rune]bool{}
	for _, s := range scripts {
		for _, r := range s.letters {
			all[r] = true
		}
	}
	return all
})
