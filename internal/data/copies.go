package data

// Copies counts the documents of a set that have the text of an earlier one.
type Copies struct {
	Documents int64 // with at least one token
	Copies    int64 // of them, those whose text an earlier one has
	Crossing  int64 // of them, those whose text stands on both sides of the split
}

// Copies compares documents by the hash of their text. It takes 16 bytes a document while it runs.
func (s *Set) Copies() (c Copies) {
	type sides struct{ train, val bool }
	seen := make(map[uint64]sides)
	for d := range s.index.len() {
		if s.index.tokens(d) == 0 {
			continue
		}
		c.Documents++
		before, copied := seen[s.index.hash64(d)]
		now := before
		if lo, hi := s.part(d, trainSide); lo < hi {
			now.train = true
		}
		if lo, hi := s.part(d, valSide); lo < hi {
			now.val = true
		}
		if copied {
			c.Copies++
			if now.train && now.val {
				c.Crossing++
			}
		}
		seen[s.index.hash64(d)] = now
	}
	return c
}
