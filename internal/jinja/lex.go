package jinja

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// lexeme is a name, a number, a string or a mark of an expression.
type lexeme struct {
	kind byte // 'n' name, '0' integer, '.' float, '"' string, '+' mark; 0: the end
	text string
}

// lexer has what is left of a tag.
type lexer struct {
	list  []lexeme
	depth int
}

// marksOf are the marks of expressions, the long ones first.
var marksOf = strings.Fields("== != <= >= // ** < > = + - * / % ~ ( ) [ ] { } , : . |")

// lex cuts the text of a tag into tokens.
func lex(text string) *lexer {
	in := &lexer{}
	for i := 0; i < len(text); {
		from, c := i, text[i]
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
		case c == '\'' || c == '"':
			s := ""
			s, i = str(text, i)
			in.list = append(in.list, lexeme{'"', s})
		case c == '_' || c < utf8.RuneSelf && unicode.IsLetter(rune(c)):
			for i < len(text) && (text[i] == '_' || isDigit(text[i]) ||
				text[i] < utf8.RuneSelf && unicode.IsLetter(rune(text[i]))) {
				i++
			}
			in.list = append(in.list, lexeme{'n', text[from:i]})
		case isDigit(c):
			kind := byte('0')
			kind, i = numeral(text, i)
			in.list = append(in.list, lexeme{kind, strings.ReplaceAll(text[from:i], "_", "")})
		default:
			for _, m := range marksOf {
				if strings.HasPrefix(text[i:], m) {
					in.list = append(in.list, lexeme{'+', m})
					i += len(m)
					break
				}
			}
			if i == from {
				failf("%q is not known in an expression", text[i:i+1])
			}
		}
		if len(in.list) > maxWords {
			failf("a tag of more than %d words", maxWords)
		}
	}
	return in
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// numeral returns the kind of a number and where it ends.
func numeral(s string, i int) (kind byte, end int) {
	digits := func(i int) int {
		for i < len(s) && (isDigit(s[i]) || s[i] == '_') {
			i++
		}
		return i
	}
	kind, i = '0', digits(i)
	if i+1 < len(s) && s[i] == '.' && isDigit(s[i+1]) {
		kind, i = '.', digits(i+1)
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		k := i + 1
		if k < len(s) && (s[k] == '+' || s[k] == '-') {
			k++
		}
		if k < len(s) && isDigit(s[k]) {
			kind, i = '.', digits(k)
		}
	}
	return kind, i
}

// escapes are those of one letter in a string.
var escapes = map[byte]string{'n': "\n", 't': "\t", 'r': "\r", '\\': "\\", '\'': "'", '"': "\"", 'a': "\a", 'b': "\b",
	'f': "\f", 'v': "\v", '\n': ""}

// str reads a string that begins at i, and returns where it ends.
func str(text string, i int) (s string, end int) {
	var b strings.Builder
	quote := text[i]
	for i++; i < len(text) && text[i] != quote; i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		c := text[i]
		short, known := escapes[c]
		digits, base := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c], 16
		switch {
		case known:
			b.WriteString(short)
			continue
		case '0' <= c && c <= '7':
			for base = 8; digits < 3 && i+digits < len(text) && '0' <= text[i+digits] &&
				text[i+digits] <= '7'; digits++ {
			}
			i--
		case digits == 0:
			if c == 'N' {
				failf(`the escape \N is not known`)
			}
			b.WriteByte('\\')
			b.WriteByte(c)
			continue
		}
		if i+digits >= len(text) {
			failf("a string without its end")
		}
		n, err := strconv.ParseUint(text[i+1:i+1+digits], base, 32)
		if err != nil || !utf8.ValidRune(rune(n)) {
			failf("the escape \\%.9s is no character", text[i:])
		}
		b.WriteRune(rune(n))
		i += digits
	}
	if i >= len(text) {
		failf("a string without its end")
	}
	return b.String(), i + 1
}

func (in *lexer) peek() lexeme {
	if len(in.list) == 0 {
		return lexeme{}
	}
	return in.list[0]
}

func (in *lexer) next() lexeme {
	t := in.peek()
	if len(in.list) > 0 {
		in.list = in.list[1:]
	}
	return t
}

// is reports whether a mark or word is next.
func (in *lexer) is(text string) bool {
	t := in.peek()
	return (t.kind == '+' || t.kind == 'n') && t.text == text
}

// take reads a mark or word, if it is next.
func (in *lexer) take(text string) bool {
	if !in.is(text) {
		return false
	}
	in.next()
	return true
}

func (in *lexer) need(text string) {
	if !in.take(text) {
		failf("%q is expected before %.40q", text, in.peek().text)
	}
}

func (in *lexer) name() string {
	t := in.next()
	if t.kind != 'n' {
		failf("a name is expected before %.40q", t.text)
	}
	return t.text
}

func (in *lexer) end() {
	if len(in.list) > 0 {
		failf("%.40q is not expected", in.peek().text)
	}
}
