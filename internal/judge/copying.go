package judge

import "iter"

const (
	seedTokens  = 12 // shorter matches with the training text are common
	novelTokens = 5
)

// copying compares texts with the training text, in one pass over it and with memory for the texts only.
type copying struct {
	texts   [][]int32
	seeds   map[uint64][]place // runs of seedTokens
	grams   map[uint64]bool    // runs of novelTokens, and whether the training text has them
	sieve   []uint64           // one bit for each hash of either: most of the training text fails here
	longest []int              // match of each text
	last    []match            // match of each text in the current document
}

// match is a run that a text shares with a document: the offset between their positions, and where the run ends in the
// document.
type match struct{ diagonal, end int }

type place struct{ text, at int }

const sieveBits = 1 << 20

func newCopying(texts [][]int32) *copying {
	c := &copying{texts: texts, seeds: map[uint64][]place{}, grams: map[uint64]bool{},
		sieve: make([]uint64, sieveBits/64), longest: make([]int, len(texts)), last: make([]match, len(texts))}
	for i, t := range texts {
		roll(t, seedTokens, func(at int, h uint64) {
			// In a loop the same seed recurs: its first place is enough.
			if p := c.seeds[h]; len(p) == 0 || p[len(p)-1].text != i {
				c.seeds[h] = append(p, place{i, at})
			}
			c.mark(h)
		})
		roll(t, novelTokens, func(_ int, h uint64) {
			c.grams[h] = false
			c.mark(h)
		})
	}
	return c
}

func (c *copying) mark(h uint64) { c.sieve[h%sieveBits/64] |= 1 << (h % 64) }

func (c *copying) maybe(h uint64) bool { return c.sieve[h%sieveBits/64]>>(h%64)&1 == 1 }

// roll yields a hash of each run of n tokens and where it begins. Runs of different lengths have different hashes.
func roll(tokens []int32, n int, yield func(at int, h uint64)) {
	const base = 0x9e3779b97f4a7c15 | 1
	out := uint64(1) // base to the power n
	for range n {
		out *= base
	}
	h := uint64(0)
	for i, t := range tokens {
		h = h*base + uint64(uint32(t)) + 1
		if i >= n {
			h -= out * (uint64(uint32(tokens[i-n])) + 1)
		}
		if i >= n-1 {
			yield(i-n+1, mix(h+uint64(n)))
		}
	}
}

// read compares the texts with one document, or a piece of it.
func (c *copying) read(train []int32) {
	for i := range c.last {
		c.last[i] = match{end: -1}
	}
	roll(train, seedTokens, func(at int, h uint64) {
		if !c.maybe(h) {
			return
		}
		for _, p := range c.seeds[h] {
			t, seen := c.texts[p.text], &c.last[p.text]
			if seen.diagonal == at-p.at && at < seen.end {
				continue // inside the run that was just measured
			}
			lo, hi := 0, 0
			for at+lo > 0 && p.at+lo > 0 && train[at+lo-1] == t[p.at+lo-1] {
				lo--
			}
			for at+hi < len(train) && p.at+hi < len(t) && train[at+hi] == t[p.at+hi] {
				hi++
			}
			*seen = match{at - p.at, at + hi}
			c.longest[p.text] = max(c.longest[p.text], hi-lo)
		}
	})
	roll(train, novelTokens, func(_ int, h uint64) {
		if c.maybe(h) {
			if _, ok := c.grams[h]; ok {
				c.grams[h] = true
			}
		}
	})
}

// copied compares texts with the training text. It returns for each text its longest match, in tokens (0 below
// seedTokens), and the share of its runs of novelTokens that are not in the training text (NaN for a shorter text).
func copied(texts [][]int32, train iter.Seq[[]int32]) (longest, novel []float64) {
	c := newCopying(texts)
	for doc := range train {
		c.read(doc)
	}
	for i, t := range texts {
		n := c.longest[i]
		if n < seedTokens {
			n = 0 // two runs with one hash, or none
		}
		longest = append(longest, float64(n))
		all, fresh := 0.0, 0.0
		roll(t, novelTokens, func(_ int, h uint64) {
			all++
			fresh += is(!c.grams[h])
		})
		novel = append(novel, fresh/all)
	}
	return longest, novel
}
