package judge

import (
	"unicode"
	"unicode/utf8"
)

// words yields the words of a text: runs of letters and digits, in lower case. In scripts without spaces between words,
// it yields every pair of neighbouring characters. A slice is valid until the next.
func words(text []byte, yield func(word []byte)) {
	var word []byte
	var before rune // the previous character, in a script without spaces
	flush := func() {
		if len(word) > 0 {
			yield(word)
			word = word[:0]
		}
	}
	var pair [2 * utf8.UTFMax]byte
	for _, r := range string(text) {
		switch {
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Khmer, unicode.Lao):
			flush()
			if before != 0 {
				yield(utf8.AppendRune(utf8.AppendRune(pair[:0], before), r))
			}
			before = r
			continue
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.Is(unicode.Mn, r):
			word = utf8.AppendRune(word, unicode.ToLower(r))
		default:
			flush()
		}
		before = 0
	}
	flush()
}

// charGrams yields the 3-, 4- and 5-grams of a text's characters.
func charGrams(text []byte, yield func(gram []byte)) {
	starts := make([]int, 0, len(text)+1)
	for i := range string(text) {
		starts = append(starts, i)
	}
	starts = append(starts, len(text))
	for n, end := range starts {
		for k := 3; k <= min(5, n); k++ {
			yield(text[starts[n-k]:end])
		}
	}
}

// hash is FNV-1a with a final mix, so that all its bits are good.
func hash(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return mix(h)
}

// mix is the finalizer of SplitMix64 (Steele et al. 2014), variant 13 of Stafford.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// vocabulary is a set of words, as a Bloom filter. It may take an unknown word for a known one: about one in a hundred
// when it holds a million words, and hardly ever when it holds fewer.
type vocabulary struct{ bits []uint64 }

const vocabularyBits = 1 << 24 // 2 MiB

func newVocabulary() *vocabulary { return &vocabulary{make([]uint64, vocabularyBits/64)} }

func (v *vocabulary) places(word []byte) (a, b uint64) {
	h := hash(word)
	return h % vocabularyBits, (h >> 32) % vocabularyBits
}

func (v *vocabulary) add(word []byte) {
	a, b := v.places(word)
	v.bits[a/64] |= 1 << (a % 64)
	v.bits[b/64] |= 1 << (b % 64)
}

func (v *vocabulary) has(word []byte) bool {
	a, b := v.places(word)
	return v.bits[a/64]>>(a%64)&1 == 1 && v.bits[b/64]>>(b%64)&1 == 1
}

// unknown is the share of a text's words that are not in v, without the first and the last, which may be cut. NaN: the
// text has fewer than three words.
func (v *vocabulary) unknown(text []byte) float64 {
	var strange []float64
	words(text, func(w []byte) { strange = append(strange, is(!v.has(w))) })
	if len(strange) < 3 {
		return nan
	}
	n := 0.0
	for _, s := range strange[1 : len(strange)-1] {
		n += s
	}
	return n / float64(len(strange)-2)
}
