package data

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gimbal/internal/shards"
)

// Stats describes a prepared corpus before training: the census of its documents, the split, and what is in it twice.
type Stats struct {
	Census  shards.Census `json:"census"`
	Context int           `json:"context"` // labels of the longest sequence
	SplitBy string        `json:"split_by"`
	Split   string        `json:"split"`
	Train   SideStats     `json:"train"`
	Val     SideStats     `json:"validation"`

	Duplicates      int64 `json:"duplicates"`       // documents with text that are exact copies of an earlier one
	DuplicateTokens int64 `json:"duplicate_tokens"` // their tokens
	Overlap         int64 `json:"overlap"`          // documents of validation that are exact copies of one in training
	Runs            int64 `json:"runs"`             // of RunTokens tokens of validation, searched for in training
	SharedRuns      int64 `json:"shared_runs"`      // and found there

	VocabSize int     `json:"vocab_size"`
	Unused    int64   `json:"unused_tokens"`      // ids that never come, but for start and EOS
	Rare      int64   `json:"rare_tokens"`        // ids that come fewer than RareUses times, also never
	Chat      string  `json:"chat,omitempty"`     // how roles are marked
	Pairs     bool    `json:"pairs,omitempty"`    // documents of a side are pairs of answers
	Mixture   []Share `json:"mixture,omitempty"`  // of each path, if there are weights
	Scanned   int64   `json:"scanned_tokens"`     // of training, in which the runs were searched for
	ValSample float64 `json:"validation_sampled"` // share of validation's runs that were searched for
}

// SideStats is one side of the split.
type SideStats struct {
	Documents int64 `json:"documents"`
	Sequences int64 `json:"sequences"`
	Labels    int64 `json:"labels"`
	Counted   int64 `json:"counted"` // labels that count in the loss
	EOS       int64 `json:"eos"`     // labels that are EOS
	Chunked   int64 `json:"chunked"` // documents longer than the context
	Answers   int64 `json:"answers"` // in conversations
	Cut       int64 `json:"cut"`     // of Answers: in a sequence without the beginning of the conversation
}

// What Stats searches for, and its limits: it takes seconds at most.
const (
	RunTokens = 32      // tokens in a row that two texts do not share by chance
	RareUses  = 10      // uses below which an embedding is hardly trained
	maxRuns   = 1 << 16 // of validation, evenly taken
	maxScan   = 1 << 26 // tokens of training, from its beginning
)

// Stats examines the set, cut into sequences of at most context labels. It reads the index and at most maxScan tokens.
// Memory: 16 bytes a document and a few megabytes.
func (s *Set) Stats(context int) (*Stats, error) {
	train, val := s.Train(context), s.Val(context)
	st := &Stats{Census: s.census, Context: context, SplitBy: s.SplitBy, Split: s.SplitNote, Train: train.sums,
		Val: val.sums, VocabSize: s.tok.VocabSize(), Chat: s.Chat().Note, Pairs: s.pairs}
	s.findCopies(st)
	findRuns(st, train, val)
	for id := range s.tok.VocabSize() {
		uses := s.files.Uses(int32(id))
		if int32(id) == s.tok.EOS() || int32(id) == s.start {
			continue // added when sequences are formed
		}
		if uses == 0 {
			st.Unused++
		}
		if uses < RareUses {
			st.Rare++
		}
	}
	var err error
	st.Mixture, err = train.Mixture()
	return st, err
}

// findCopies counts documents with equal texts, by the first 64 bits of their hashes.
func (s *Set) findCopies(st *Stats) {
	type document struct {
		hash uint64
		id   int
	}
	docs := make([]document, 0, s.index.Len())
	for d := range s.index.Len() {
		switch {
		case s.pairs && d%2 == 0:
			docs = append(docs, document{s.pairHash(d), d})
		case !s.pairs && s.index.Tokens(d) > 0:
			docs = append(docs, document{s.index.Hash64(d), d})
		}
	}
	slices.SortFunc(docs, func(a, b document) int { return cmp.Or(cmp.Compare(a.hash, b.hash), a.id-b.id) })
	for len(docs) > 0 {
		var held int64
		n := 0
		for ; n < len(docs) && docs[n].hash == docs[0].hash; n++ {
			if n > 0 {
				st.Duplicates++
				st.DuplicateTokens += s.index.Tokens(docs[n].id)
			}
			if lo, hi := s.part(docs[n].id, valSide, false); lo < hi {
				held++
			}
		}
		if held < int64(n) { // one is in training
			st.Overlap += held
		}
		docs = docs[n:]
	}
}

// hashBase is the base of a polynomial over tokens, modulo 2^64.
const hashBase = 0x9E3779B97F4A7C15

// findRuns counts the runs of tokens of validation that are also in training.
func findRuns(st *Stats, train, val *Split) {
	var ids []int32
	total := int64(0)
	for k := range val.Parts() {
		_, n := val.Document(k)
		total += n / RunTokens
	}
	every := max(1, (total+maxRuns-1)/maxRuns)
	wanted := map[uint64]int32{} // hash of a run: how often validation has it
	var filter [1 << 16]uint64   // which hashes may be wanted
	i := int64(0)
	for k := range val.Parts() {
		_, n := val.Document(k)
		for at := int64(0); at+RunTokens <= n; at += RunTokens {
			if i++; i%every != 0 {
				continue
			}
			ids = val.AppendText(ids[:0], k, at, at+RunTokens)
			h := uint64(0)
			for _, id := range ids {
				h = h*hashBase + uint64(id) + 1
			}
			wanted[h]++
			filter[h>>48] |= 1 << (h >> 42 & 63)
			st.Runs++
		}
	}
	if total > 0 {
		st.ValSample = float64(st.Runs) / float64(total)
	}
	if st.Runs == 0 {
		return
	}
	power := uint64(1) // of the token that leaves the run
	for range RunTokens {
		power *= hashBase
	}
	for k := range train.Parts() {
		_, n := train.Document(k)
		n = min(n, maxScan-st.Scanned)
		st.Scanned += n
		h := uint64(0)
		var run [RunTokens]int32
		for lo := int64(0); lo < n; lo += labelPiece {
			ids = train.AppendText(ids[:0], k, lo, min(n, lo+labelPiece))
			for j, id := range ids {
				slot := &run[j%RunTokens] // labelPiece is a multiple of it
				h = h*hashBase + uint64(id) + 1
				if lo > 0 || j >= RunTokens {
					h -= power * (uint64(*slot) + 1)
				}
				*slot = id
				if filter[h>>48]>>(h>>42&63)&1 == 0 || lo == 0 && j < RunTokens-1 {
					continue
				}
				if times, ok := wanted[h]; ok {
					st.SharedRuns += int64(times)
					delete(wanted, h)
				}
			}
		}
		if st.Scanned >= maxScan {
			break
		}
	}
}

// share returns a part of a whole in per cent.
func share(part, whole int64) string {
	if whole == 0 {
		return "none"
	}
	return fmt.Sprintf("%.2f %%", 100*float64(part)/float64(whole))
}

// String describes the corpus in a page.
func (st *Stats) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s", censusText(&st.Census))
	if reasons := st.Census.Read.ReasonsText(); reasons != "" {
		line("broken documents: %s", reasons)
	}
	line("split: %s", st.Split)
	thing := "document"
	if st.Pairs {
		thing = "pair"
	}
	for _, side := range []struct {
		name string
		SideStats
	}{{"training", st.Train}, {"validation", st.Val}} {
		line("%s: %s in %s of at most %d, %s to predict, %s of them EOS (%s)",
			side.name, count(side.Documents, thing), count(side.Sequences, "sequence"),
			st.Context, count(side.Labels, "token"), group(side.EOS), share(side.EOS, side.Labels))
		line("  longer than the context: %s (%s)",
			count(side.Chunked, "document"), share(side.Chunked, side.Documents))
		if side.Counted != side.Labels {
			line("  counted in the loss: %s (%s)", count(side.Counted, "token"), share(side.Counted, side.Labels))
			line("  answers: %s, without the beginning of their conversation: %s (%s)", group(side.Answers), group(side.Cut),
				share(side.Cut, side.Answers))
		}
	}
	line("exact copies: %s (%s of the tokens); in validation and training both: %s", count(st.Duplicates, "document"),
		share(st.DuplicateTokens, st.Census.Tokens), count(st.Overlap, "document"))
	line("validation in training: %s of %s of %d tokens in a row, searched for in %s",
		group(st.SharedRuns), count(st.Runs, "run"), RunTokens, count(st.Scanned, "token"))
	line("vocabulary: %s, never used %s (%s), used fewer than %d times %s",
		group(int64(st.VocabSize)), group(st.Unused), share(st.Unused, int64(st.VocabSize)), RareUses, group(st.Rare))
	if t := st.Census.Read; t.Answers > 0 {
		line("answers: %s, empty: %s (%s)", group(t.Answers), group(t.Empty), share(t.Empty, t.Answers))
	}
	if t := st.Census.Read; len(t.Ignored) > 0 {
		line("keys of messages that are not used: %s", t.IgnoredText())
	}
	if st.Chat != "" {
		line("chat: %s", st.Chat)
	}
	for g, m := range st.Mixture {
		line("mixture: path %d gives %.2f %% of training (weight %g), %.2f passes over its %s an epoch",
			g+1, 100*m.Share, m.Weight, m.Passes, count(m.Labels, "token"))
	}
	return strings.TrimSuffix(b.String(), "\n")
}
