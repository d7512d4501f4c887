package judge

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"math"
)

// gram is an n-gram of up to four tokens, padded with -1.
type gram [4]int32

// grams yields the n-grams of tokens, n <= 4.
func grams(tokens []int32, n int, yield func(gram)) {
	for i := 0; i+n <= len(tokens); i++ {
		g := gram{-1, -1, -1, -1}
		copy(g[:], tokens[i:i+n])
		yield(g)
	}
}

// Repetition is the share of a text's n-grams that occurred in it before, n <= 4; NaN if the text has none.
//
// Formula: rep-n = 1 - |distinct n-grams| / |n-grams|. Source: seq-rep-n of Welleck et al. 2019.
func Repetition(tokens []int32, n int) float64 {
	return 1 - Distinct([][]int32{tokens}, n)
}

// Distinct is the share of different n-grams among those of all texts together; NaN if there are none.
//
// Source: Li et al. 2016. It falls with the amount of text: compare equal amounts.
func Distinct(texts [][]int32, n int) float64 {
	seen, all := map[gram]struct{}{}, 0
	for _, t := range texts {
		grams(t, n, func(g gram) { seen[g] = struct{}{}; all++ })
	}
	if all == 0 {
		return nan
	}
	return float64(len(seen)) / float64(all)
}

const (
	maxPeriod = 32 // longest unit of a loop, in tokens
	loopTurns = 3  // a unit this often in a row is a loop
)

// Loop returns the length of the longest stretch of tokens that repeats one unit of at most 32 tokens, at least three
// times in a row, and the length of that unit; zeros if there is none.
func Loop(tokens []int32) (length, period int) {
	for p := 1; p <= min(maxPeriod, len(tokens)/loopTurns); p++ {
		run := 0
		for i := p; i < len(tokens); i++ {
			if tokens[i] != tokens[i-p] {
				run = 0
				continue
			}
			if run++; run+p >= loopTurns*p && run+p > length {
				length, period = run+p, p
			}
		}
	}
	return length, period
}

// Compression is the size of the concatenated texts over their zlib size; NaN if they are empty.
//
// Source: Shaib et al. 2024, who find that this ratio, Self-BLEU and long self-repetition carry most of the information
// in diversity scores.
func Compression(texts [][]byte) float64 {
	var small bytes.Buffer
	z, err := zlib.NewWriterLevel(&small, zlib.BestCompression)
	if err != nil {
		panic("judge: zlib level") // a constant
	}
	total := 0
	for _, t := range texts {
		total += len(t)
		z.Write(t) // a buffer never fails
	}
	z.Close()
	if total == 0 {
		return nan
	}
	return float64(total) / float64(small.Len())
}

const (
	bleuOrder   = 4
	bleuEpsilon = 0.1 // in place of zero matches
)

// SelfBLEU is the BLEU-4 of each text with all others as its references: 1 if every text is like another one. A text
// without a token, or without others, has NaN.
//
// Source: Zhu et al. 2018; BLEU of Papineni et al. 2002 with smoothing method 1 of Chen and Cherry 2014.
func SelfBLEU(texts [][]int32) []float64 {
	// most is how often an n-gram occurs in the text that has it most often, and in the best of the others.
	type most struct{ first, second, owner int32 }
	var tables [bleuOrder]map[gram]most
	counts := make([][bleuOrder]map[gram]int32, len(texts))
	for n := range tables {
		tables[n] = map[gram]most{}
		for i, t := range texts {
			c := map[gram]int32{}
			grams(t, n+1, func(g gram) { c[g]++ })
			counts[i][n] = c
			for g, k := range c {
				m := tables[n][g]
				if m.second = max(m.second, k); k > m.first {
					m = most{k, m.first, int32(i)}
				}
				tables[n][g] = m
			}
		}
	}
	scores := make([]float64, len(texts))
	for i, t := range texts {
		if len(t) == 0 || len(texts) < 2 {
			scores[i] = nan
			continue
		}
		logs := 0.0
		matched := 0
		for n := range tables {
			hits, all := int32(0), int32(0)
			for g, k := range counts[i][n] {
				m := tables[n][g]
				best := m.first
				if m.owner == int32(i) {
					best = m.second
				}
				hits += min(k, best)
				all += k
			}
			if n == 0 {
				matched = int(hits)
			}
			p := float64(hits)
			if hits == 0 {
				p = bleuEpsilon
			}
			logs += math.Log(p/float64(max(1, all))) / bleuOrder
		}
		if matched > 0 {
			scores[i] = math.Exp(logs) * brevity(texts, i)
		}
	}
	return scores
}

// brevity is BLEU's penalty for a text shorter than the reference closest in length.
func brevity(texts [][]int32, i int) float64 {
	own, closest := len(texts[i]), -1
	for j, t := range texts {
		if j != i && (closest < 0 || cmp.Or(abs(len(t)-own)-abs(closest-own), len(t)-closest) < 0) {
			closest = len(t)
		}
	}
	if own > closest {
		return 1
	}
	return math.Exp(1 - float64(closest)/float64(own))
}

func abs(n int) int { return max(n, -n) }
