package split

import (
	"math"
	"strings"
)

// Shared parts of the patterns below.
const (
	contractions   = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	gpt2Tail       = `| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	llamaWord      = `|[^\r\n\p{L}\p{N}]?\p{L}+|`
	llamaTail      = `| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	mixedWord      = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`
	capitalWord    = `|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*`
	casedTail      = `| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	markTail       = `| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	possessiveTail = `| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`
)

// The patterns of GPT-2, Qwen 2 and Llama 3 as files have them.
const (
	PatternGPT2   = `'s|'t|'re|'ve|'m|'ll|'d` + gpt2Tail
	PatternQwen2  = contractions + llamaWord + `\p{N}` + llamaTail
	PatternLlama3 = contractions + llamaWord + `\p{N}{1,3}` + llamaTail
)

// The splits of GPT-2 (ByteLevel has it too), Qwen 2 (one digit at a time) and Llama 3 (up to three).
var (
	GPT2   = &Split{scanners: []scanner{nextGPT2}, covers: true}
	Qwen2  = &Split{scanners: []scanner{llama{letters, others, 1}.next}, covers: true, digits: 1}
	Llama3 = &Split{scanners: []scanner{llama{letters, others, 3}.next}, covers: true, digits: 3}
)

var (
	qwen35   = &Split{scanners: []scanner{llama{letters | marks, others &^ marks, 1}.next}, covers: true, digits: 1}
	miniCPM5 = &Split{scanners: []scanner{llama{letters, others, math.MaxInt}.next}, covers: true}
	o200k    = &Split{scanners: []scanner{cased{3, true}.next}, covers: true}
	tekken   = &Split{scanners: []scanner{cased{1, false}.next}, covers: true}
)

// patterns are the splits of the expressions that files have.
var patterns = map[string]*Split{
	PatternGPT2:                       GPT2,
	`'(?:[sdmt]|ll|ve|re)` + gpt2Tail: GPT2,
	PatternQwen2:                      Qwen2,
	PatternLlama3:                     Llama3,
	contractions + llamaWord + `\p{N}+` + llamaTail:                               miniCPM5,
	`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}` + possessiveTail:      Qwen2,
	`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}` + possessiveTail: Llama3, // cl100k
	contractions + `|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}` + markTail:            qwen35,

	mixedWord + contractions + `?` + capitalWord + contractions + `?|\p{N}{1,3}` + casedTail: o200k, // and Llama 4
	mixedWord + capitalWord + `|\p{N}` + casedTail:                                           tekken,

	`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` + "`" + `{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+` +
		`| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`: {scanners: []scanner{nextDeepSeek}},
	`[一-龥぀-ゟ゠-ヿ]+`:             runs{in: within('一', '龥', 0x3040, 0x30ff)}.split(),
	`[一-龥ࠀ-一가-` + "\ud7ff]+":   runs{in: within(0x800, '龥', '가', 0xd7ff)}.split(),
	`\p{N}`:                    runs{in: numbers.of, max: 1}.split(),
	`\p{N}{1,3}`:               runs{in: numbers.of, max: 3}.split(),
	`[\r\n]`:                   runs{in: set(1 << newline).of, max: 1}.split(),
	`\s?\p{L}+`:                runs{lead: blanks.of, in: letters.of}.split(),
	`\s?\p{P}+`:                runs{lead: blanks.of, in: set(1 << punct).of}.split(),
	` ?[^(\s|[.,!?…。，、।۔،])]+`: runs{lead: within(' ', ' '), in: bloom}.split(),
	`[0-9][0-9][0-9]`:          threeDigits.withBytes(threeDigits.scanners[0]),
}

var threeDigits = runs{in: within('0', '9'), min: 3, max: 3}.split()

// bloom is what BLOOM's pattern excludes from an exclusion.
func bloom(r rune) bool {
	return !blanks.of(r) && !strings.ContainsRune(`()|.,!?…。，、।۔،`, r)
}

// within returns the test for ranges of characters.
func within(ranges ...rune) func(rune) bool {
	return func(r rune) bool {
		for i := 0; i < len(ranges); i += 2 {
			if ranges[i] <= r && r <= ranges[i+1] {
				return true
			}
		}
		return false
	}
}

// Pattern returns the split of an expression; nil if it is not known.
func Pattern(expression string) *Split {
	return patterns[strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(expression)] // files have either spelling
}

// The pre-tokenizer Digits makes a piece of each number, or of numbers side by side.
var (
	EachDigit = runs{in: numeric, max: 1}.split().withBytes(digitBytes(1))
	AllDigits = runs{in: numeric}.split().withBytes(digitBytes(0))
)

// numeric is a number to Digits, by Unicode 17.
func numeric(r rune) bool {
	return numbers.of(r) || 0x11de0 <= r && r <= 0x11de9 || 0x16ff4 <= r && r <= 0x16ff6
}

// digitBytes is Digits behind a ByteLevel, which writes some bytes as ², ³, ¹, ¼, ½ and ¾. max 0 is no limit.
func digitBytes(max int) scanner {
	const written = "0123456789\xb2\xb3\xb9\xbc\xbd\xbe"
	is := func(c byte) bool { return strings.IndexByte(written, c) >= 0 }
	return func(b []byte) (n, look int) {
		first := is(b[0])
		for n = 1; n < len(b) && is(b[n]) == first && (!first || max == 0 || n < max); n++ {
		}
		return n, n
	}
}
