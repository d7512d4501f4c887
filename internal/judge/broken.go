package judge

import (
	"bytes"
	"go/parser"
	"go/scanner"
	"go/token"
	"strings"
)

// unbalanced counts the brackets and quotation marks of a text without a partner.
//
// Brackets match by kind, innermost first. Straight double quotes match each other; curly quotes and those of other
// scripts match by pair. Apostrophes are ignored: they are letters more often than quotes.
func unbalanced(text []byte) int {
	const opening = "([{“„«「『《（【"
	pairs := map[rune]rune{')': '(', ']': '[', '}': '{', '”': '“', '“': '„', '»': '«', '」': '「', '』': '『', '》': '《',
		'）': '（', '】': '【'}
	var stack []rune
	alone, straight := 0, 0
	for _, r := range string(text) {
		n := len(stack)
		switch {
		case r == '"':
			straight++
		case r == '“' && (n == 0 || stack[n-1] != '„'): // it closes „ and opens otherwise
			stack = append(stack, r)
		case pairs[r] != 0:
			if n > 0 && stack[n-1] == pairs[r] {
				stack = stack[:n-1]
			} else {
				alone++
			}
		case strings.ContainsRune(opening, r):
			stack = append(stack, r)
		}
	}
	return alone + len(stack) + straight%2
}

// ParsesAsGo reports whether a piece of Go source would be accepted in its place: its whole lines are a file, a run of
// declarations, or a run of statements, once the brackets that it leaves open are closed and those that it closes are
// opened. Without this allowance human text would not pass either, because it is cut too.
func ParsesAsGo(text []byte) bool {
	// The first line may begin anywhere and the last one may be cut.
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	if len(bytes.TrimSpace(text)) == 0 {
		return false
	}
	before, after, ok := missingBrackets(text)
	if !ok {
		return false
	}
	accepts := func(head, tail string) bool {
		_, err := parser.ParseFile(token.NewFileSet(), "", head+string(text)+tail, parser.SkipObjectResolution)
		return err == nil
	}
	inside, ends := strings.CutPrefix(before, "{\n") // the last block that it closes may be a function
	return accepts("", "") ||                        // a whole file
		before == "" && accepts("package p\n", after) || // declarations
		accepts("package p\nfunc _() {\n"+before, after+"\n}\n") || // statements
		ends && accepts("package p\nfunc _() {\n"+inside, after) || // the end of a function, and what follows it
		accepts("package p\nvar _ = []any{\n"+before, after+"\n}\n") // a list of values, as in a table of tests
}

// missingBrackets returns what must be added before and after a piece of Go source to balance its brackets. ok is false
// if it is not made of Go tokens, its brackets cross, or it has only comments.
func missingBrackets(text []byte) (before, after string, ok bool) {
	fset := token.NewFileSet()
	var s scanner.Scanner
	s.Init(fset.AddFile("", fset.Base(), len(text)), text, func(token.Position, string) {}, 0)
	partner := map[token.Token]string{token.LPAREN: ")", token.LBRACK: "]", token.LBRACE: "}", token.RPAREN: "(",
		token.RBRACK: "[", token.RBRACE: "{"}
	var open []token.Token
	code := false
	for {
		_, tok, _ := s.Scan()
		code = code || tok != token.EOF
		switch tok {
		case token.EOF:
			for i := len(open) - 1; i >= 0; i-- {
				after += "\n" + partner[open[i]]
			}
			return before, after, code && s.ErrorCount == 0
		case token.LPAREN, token.LBRACK, token.LBRACE:
			open = append(open, tok)
		case token.RPAREN, token.RBRACK, token.RBRACE:
			switch n := len(open); {
			case n > 0 && partner[open[n-1]] == tok.String():
				open = open[:n-1]
			case n > 0:
				return "", "", false
			case tok == token.RBRACE: // the head of a block is unknown; a call or an index is not
				before = "{\n" + before
			default:
				before = "f" + partner[tok] + before
			}
		}
	}
}
