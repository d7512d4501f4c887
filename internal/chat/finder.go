package chat

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// finder finds special tokens in a text: the leftmost, and of those that begin there the longest.
type finder [256][]Special // by their first byte, the longest first

func newFinder(all []Special) (f finder) {
	for _, s := range all {
		if s.Name != "" {
			f[s.Name[0]] = append(f[s.Name[0]], s)
		}
	}
	for _, same := range f {
		slices.SortStableFunc(same, func(a, b Special) int { return cmp.Compare(len(b.Name), len(a.Name)) })
	}
	return f
}

// find returns the first token that begins at a byte or later, and where it lies with the white space that it takes;
// nil if there is none.
func (f *finder) find(text string, from int) (begin, end int, special *Special) {
	for i := from; i < len(text); i++ {
		for k := range f[text[i]] {
			s := &f[text[i]][k]
			if !strings.HasPrefix(text[i:], s.Name) {
				continue
			}
			begin, end = i, i+len(s.Name)
			if s.Left {
				begin = from + len(strings.TrimRightFunc(text[from:i], unicode.IsSpace))
			}
			if s.Right {
				end = len(text) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
			}
			return begin, end, s
		}
	}
	return len(text), len(text), nil
}

// last returns the last token of a text, -1 if there is none.
func (f *finder) last(text string) int32 {
	id := int32(-1)
	for _, end, s := f.find(text, 0); s != nil; _, end, s = f.find(text, end) {
		id = s.ID
	}
	return id
}

// upTo returns the last place up to at which is not inside of a token.
func (f *finder) upTo(text string, at int) int {
	for begin, end, s := f.find(text, 0); s != nil && begin < at; begin, end, s = f.find(text, end) {
		if end > at {
			return begin
		}
	}
	return at
}

// guard keeps text of a conversation from becoming a special token.
type guard struct {
	*finder
	mark string // is put into what looks like one; the conversation does not have it
}

// clean returns a text in which no special token is found.
func (g guard) clean(text string) string {
	_, end, s := g.find(text, 0)
	if s == nil {
		return text
	}
	var b strings.Builder
	from := 0
	for ; s != nil; _, end, s = g.find(text, from) {
		at := from + strings.Index(text[from:end], s.Name) // behind white space that it takes
		_, n := utf8.DecodeRuneInString(s.Name)
		b.WriteString(text[from:at+n] + g.mark)
		from = at + n
	}
	b.WriteString(text[from:])
	return b.String()
}

// plain takes the marks out again, also as a template may have escaped them.
func (g guard) plain(text string) []byte {
	if g.mark != "" {
		text = strings.ReplaceAll(strings.ReplaceAll(text, g.mark, ""), escaped(g.mark), "")
	}
	return []byte(text)
}

// pieces cuts a text into special tokens and runs of text. A run of text is encoded as one, in pieces of which some
// count.
func (t *Template) pieces(text string, spans [][2]int, g guard) (pieces []Piece) {
	put := func(from, to int) {
		joined := false
		for from < to {
			end, counts := to, false
			for _, s := range spans {
				if from < s[1] && s[0] < end {
					if counts = s[0] <= from; counts {
						end = min(end, s[1])
					} else {
						end = s[0]
					}
					break
				}
			}
			if plain := g.plain(text[from:end]); len(plain) > 0 {
				pieces = append(pieces, Piece{Text: plain, Token: -1, Counted: counts, Joined: joined})
				joined = true
			}
			from = end
		}
	}
	for from := 0; from < len(text); {
		begin, end, s := t.specials.find(text, from)
		put(from, begin)
		if s == nil {
			break
		}
		counts := slices.ContainsFunc(spans, func(p [2]int) bool { return begin < p[1] && p[0] < end })
		pieces = append(pieces, Piece{Text: []byte(s.Name), Token: s.ID, Counted: counts})
		from = end
	}
	return pieces
}
