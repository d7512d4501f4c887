package chat

import (
	"strings"
	"unicode"
)

// lexeme is a name, a number, a string or a mark of an expression.
type lexeme struct {
	kind byte // 'n' name, '0' number, '"' string, '+' mark
	text string
}

// lexer has what is left of a tag.
type lexer struct {
	list  []lexeme
	depth int
}

// marksOf are the marks of expressions, the long ones first.
var marksOf = strings.Fields("== != <= >= // < > = + - * / % ~ ( ) [ ] { } , : . |")

// lex cuts the text of a tag into tokens.
func lex(text string) *lexer {
	in := &lexer{}
	for i := 0; i < len(text); {
		c := text[i]
		from := i
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
		case c == '\'' || c == '"':
			s := ""
			s, i = str(text, i)
			in.list = append(in.list, lexeme{'"', s})
		case c == '_' || unicode.IsLetter(rune(c)) && c < 0x80:
			for i < len(text) && (text[i] == '_' || text[i] < 0x80 && unicode.IsLetter(rune(text[i])) || digit(text[i])) {
				i++
			}
			in.list = append(in.list, lexeme{'n', text[from:i]})
		case digit(c):
			for i < len(text) && digit(text[i]) {
				i++
			}
			in.list = append(in.list, lexeme{'0', text[from:i]})
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
	}
	return in
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

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
		switch text[i] {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case '\\', '\'', '"':
			b.WriteByte(text[i])
		default:
			failf("the escape \\%c is not known", text[i])
		}
	}
	if i == len(text) {
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

// take reads a mark or word, if it is next.
func (in *lexer) take(text string) bool {
	if t := in.peek(); (t.kind != '+' && t.kind != 'n') || t.text != text {
		return false
	}
	in.next()
	return true
}

func (in *lexer) need(text string) {
	if !in.take(text) {
		failf("%q is expected before %q", text, in.peek().text)
	}
}

func (in *lexer) name() string {
	t := in.next()
	if t.kind != 'n' {
		failf("a name is expected before %q", t.text)
	}
	return t.text
}

func (in *lexer) end() {
	if len(in.list) > 0 {
		failf("%q is not expected", in.peek().text)
	}
}
