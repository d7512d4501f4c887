package safetensors

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// parseHeader reads the JSON of a header. It is a reader of its own, not encoding/json: that one keeps the last of
// two equal keys, matches keys in any case, and allocates for every token.
func parseHeader(header string) (f *File, err error) {
	s := scanner{text: header}
	// A counting pass first, so that the result is allocated once and in its exact size.
	tensors, dims, err := s.header(nil)
	if err != nil {
		return nil, err
	}
	f = &File{tensors: make([]Tensor, 0, tensors)}
	s = scanner{text: header, dims: make([]int, 0, dims)}
	if _, _, err := s.header(f); err != nil {
		return nil, err
	}
	return f, nil
}

// scanner reads the JSON that a header may hold, and no other.
type scanner struct {
	text   string
	pos    int
	tensor string // being read, for errors
	dims   []int  // all shapes, end to end
}

func (s *scanner) fail(format string, args ...any) error {
	return &Error{s.tensor, fmt.Sprintf(format, args...)}
}

// next skips white space and returns the byte that follows, 0 at the end.
func (s *scanner) next() byte {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// expect takes the byte c.
func (s *scanner) expect(c byte) error {
	if got := s.next(); got != c {
		what := "the header ends"
		if s.pos < len(s.text) {
			what = fmt.Sprintf("there is %q", got)
		}
		return s.fail("at byte %d of the header %q is expected, but %s", s.pos, c, what)
	}
	s.pos++
	return nil
}

// list reads open, elements separated by commas, and end.
func (s *scanner) list(open, end byte, element func() error) error {
	if err := s.expect(open); err != nil {
		return err
	}
	if s.next() == end {
		s.pos++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if s.next() != ',' {
			return s.expect(end)
		}
		s.pos++
	}
}

// str reads a string; without escapes the result shares the memory of the header.
func (s *scanner) str() (string, error) {
	if err := s.expect('"'); err != nil {
		return "", err
	}
	start, escaped := s.pos, false
	for ; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; {
		case c == '\\':
			escaped = true
			s.pos++ // the byte after it does not end the string
		case c < ' ':
			return "", s.fail("at byte %d of the header a string holds a control character", s.pos)
		case c == '"':
			raw := s.text[start:s.pos]
			s.pos++
			if !escaped {
				return raw, nil
			}
			var out string
			if err := json.Unmarshal([]byte(s.text[start-1:s.pos]), &out); err != nil {
				return "", s.fail("at byte %d of the header a string has a bad escape", start)
			}
			// encoding/json puts U+FFFD for half a surrogate pair; then two names could become one.
			if strings.ContainsRune(out, utf8.RuneError) && !strings.ContainsRune(raw, utf8.RuneError) &&
				!strings.Contains(strings.ToLower(raw), `\ufffd`) {
				return "", s.fail("at byte %d of the header a string holds half a surrogate pair", start)
			}
			return out, nil
		}
	}
	return "", s.fail("the header ends inside a string")
}

// number reads an integer in [0, 2^63), written as plain digits.
func (s *scanner) number() (int64, error) {
	s.next()
	start, n := s.pos, int64(0)
	for ; s.pos < len(s.text) && s.text[s.pos] >= '0' && s.text[s.pos] <= '9'; s.pos++ {
		d := int64(s.text[s.pos] - '0')
		if n > (math.MaxInt64-d)/10 {
			return 0, s.fail("at byte %d of the header a number is too large", start)
		}
		n = n*10 + d
	}
	digits := s.text[start:s.pos]
	if digits == "" || len(digits) > 1 && digits[0] == '0' || strings.IndexByte(".eE", s.next()) >= 0 {
		return 0, s.fail("at byte %d of the header a plain non-negative integer is expected", start)
	}
	return n, nil
}

// header reads all of it: into f, or only counting tensors and dimensions when f is nil.
func (s *scanner) header(f *File) (tensors, dims int, err error) {
	metadata := false
	err = s.list('{', '}', func() error {
		s.tensor = ""
		name, err := s.str()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		if name == "__metadata__" {
			if metadata {
				return s.fail("__metadata__ appears twice")
			}
			metadata = true
			return s.metadata(f)
		}
		if tensors++; tensors > MaxTensors {
			return s.fail("more than %d tensors", MaxTensors)
		}
		s.tensor = name
		t, rank, err := s.info(f != nil)
		if err != nil {
			return err
		}
		dims += rank
		if f != nil {
			t.Name = name
			f.tensors = append(f.tensors, t)
		}
		return nil
	})
	s.tensor = ""
	if err == nil {
		if s.next(); s.pos < len(s.text) {
			err = s.fail("at byte %d of the header something follows its end", s.pos)
		}
	}
	return tensors, dims, err
}

// metadata reads an object of strings.
func (s *scanner) metadata(f *File) error {
	return s.list('{', '}', func() error {
		key, err := s.str()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		value, err := s.str()
		if err != nil {
			return err
		}
		if f == nil {
			return nil
		}
		if _, dup := f.metadata[key]; dup {
			return s.fail("__metadata__ key %q appears twice", key)
		}
		if len(f.metadata) >= maxMetadata {
			return s.fail("__metadata__ has more than %d keys", maxMetadata)
		}
		if f.metadata == nil {
			f.metadata = map[string]string{}
		}
		f.metadata[key] = value
		return nil
	})
}

// info reads the description of one tensor: exactly dtype, shape and data_offsets, in any order.
func (s *scanner) info(keep bool) (t Tensor, rank int, err error) {
	var seen [3]bool
	first := len(s.dims)
	err = s.list('{', '}', func() error {
		key, err := s.str()
		if err != nil {
			return err
		}
		k := slices.Index(infoKeys[:], key)
		if k < 0 {
			return s.fail("unknown key %q", key)
		}
		if seen[k] {
			return s.fail("key %q appears twice", key)
		}
		seen[k] = true
		if err := s.expect(':'); err != nil {
			return err
		}
		switch key {
		case "dtype":
			t.DType, err = s.str()
			return err
		case "shape":
			return s.list('[', ']', func() error {
				n, err := s.number()
				if err != nil {
					return err
				}
				if n > math.MaxInt {
					return s.fail("dimension %d does not fit this machine", n)
				}
				if rank++; rank > MaxRank {
					return s.fail("more than %d dimensions", MaxRank)
				}
				if keep {
					s.dims = append(s.dims, int(n))
				}
				return nil
			})
		default:
			count := 0
			err := s.list('[', ']', func() error {
				n, err := s.number()
				if err != nil {
					return err
				}
				switch count++; count {
				case 1:
					t.Begin = n
				case 2:
					t.End = n
				default:
					return s.fail("data_offsets has more than two numbers")
				}
				return nil
			})
			if err == nil && count != 2 {
				err = s.fail("data_offsets has %d numbers instead of two", count)
			}
			return err
		}
	})
	if err != nil {
		return t, rank, err
	}
	for k, ok := range seen {
		if !ok {
			return t, rank, s.fail("key %q is missing", infoKeys[k])
		}
	}
	t.Shape = s.dims[first:len(s.dims):len(s.dims)]
	return t, rank, nil
}

var infoKeys = [3]string{"dtype", "shape", "data_offsets"}
