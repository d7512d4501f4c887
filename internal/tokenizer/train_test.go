package tokenizer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/bpe"
	"gimbal/internal/split"
)

func mustTrain(t testing.TB, opt TrainOptions, docs ...[]byte) (*Tokenizer, TrainReport) {
	t.Helper()
	tok, r, err := TrainBPE(context.Background(), docsOf(docs...), opt)
	if err != nil {
		t.Fatal(err)
	}
	return tok, r
}

// naiveTrain trains by the definition: count all pairs anew before each merge.
// It does without texts in which two merges spell the same.
func naiveTrain(size int, docs ...[]byte) []bpe.Merge {
	var pieces [][]int32
	byteID := map[byte]int32{}
	for id, c := range byteOrder {
		byteID[c] = int32(id)
	}
	for _, d := range docs {
		for len(d) > 0 {
			n := split.Qwen2.First(d, trainPiece)
			var p []int32
			for _, c := range d[:n] {
				p = append(p, byteID[c])
			}
			pieces = append(pieces, p)
			d = d[n:]
		}
	}
	var merges []bpe.Merge
	for 256+len(merges) < size {
		counts := map[[2]int32]int{}
		best := [2]int32{}
		for _, p := range pieces {
			for i := 0; i+1 < len(p); i++ {
				counts[[2]int32{p[i], p[i+1]}]++
			}
		}
		for pair, n := range counts {
			if m := counts[best]; n > m || n == m && slices.Compare(pair[:], best[:]) < 0 {
				best = pair
			}
		}
		if counts[best] < 2 {
			break
		}
		m := bpe.Merge{A: best[0], B: best[1], ID: int32(256 + len(merges))}
		merges = append(merges, m)
		for k, p := range pieces {
			for i := 0; i+1 < len(p); i++ {
				if p[i] == m.A && p[i+1] == m.B {
					p[i] = m.ID
					p = slices.Delete(p, i+1, i+2)
				}
			}
			pieces[k] = p
		}
	}
	return merges
}

func TestTrainAgainstDefinition(t *testing.T) {
	r := newRand(t)
	for range 30 {
		// Few different words, so that many counts are equal. No letter comes twice in a row and no order is
		// reversed, so that each string is made by one merge only.
		var text []byte
		for range 60 + r.IntN(200) {
			text = append(text, ' ')
			for c := byte('a'); c <= 'j'; c++ {
				if r.IntN(2) == 0 {
					text = append(text, c)
				}
			}
		}
		tok, report := mustTrain(t, TrainOptions{VocabSize: 330}, text)
		want := naiveTrain(329, text)
		spelled := map[string]bool{}
		for _, m := range tok.merges {
			spelled[string(tok.Bytes(m.ID))] = true
		}
		if len(spelled) < len(tok.merges) {
			continue // two merges spell the same
		}
		if !slices.Equal(tok.merges, want) || report.Merges != len(want) {
			t.Fatalf("%q: merges\n%v, want\n%v", text, tok.merges, want)
		}
	}
}

// TestTrainTies: of pairs equally frequent the smallest ids come first.
func TestTrainTies(t *testing.T) {
	tok, r := mustTrain(t, TrainOptions{VocabSize: 300}, []byte("zy.cd.ab\n.cd.zy.ab"))
	var got []string
	for _, m := range tok.merges {
		got = append(got, string(tok.Bytes(m.ID)))
	}
	// Pieces: zy .cd .ab \n .cd .zy .ab; '.' is id 13, 'a' 64, 'z' 89.
	want := []string{".a", ".c", "zy", ".ab", ".cd"}
	if !slices.Equal(got, want) || r.LastCount != 2 || r.VocabSize != 262 || tok.EOS() != 261 {
		t.Errorf("merges %q, want %q; report %+v", got, want, r)
	}
}

// TestTrainSameForAnyWorkers: also for any cut of the same text into documents that ends at line breaks.
func TestTrainSameForAnyWorkers(t *testing.T) {
	docs := goSource()[:80]
	var want string
	for _, workers := range []int{1, 2, 3, 7} {
		tok, r := mustTrain(t, TrainOptions{VocabSize: 1200, Workers: workers}, docs...)
		got := fmt.Sprint(tok.Hash(), r)
		if want == "" {
			want = got
		}
		if got != want {
			t.Fatalf("%d workers: %s, one worker: %s", workers, got, want)
		}
	}
}

// TestTrainHugeDocument: a document that is counted in parts gives the pieces of the whole.
func TestTrainHugeDocument(t *testing.T) {
	var docs [][]byte
	for _, f := range goSource()[:650] {
		if f = bytes.TrimSpace(f); len(f) > 0 {
			docs = append(docs, append(slices.Clone(f), '\n'))
		}
	}
	one := bytes.Join(docs, nil)
	if len(one) < 3*partSize {
		t.Fatalf("only %d bytes of text", len(one))
	}
	a, ra := mustTrain(t, TrainOptions{VocabSize: 600}, docs...)
	b, rb := mustTrain(t, TrainOptions{VocabSize: 600}, one)
	if ra.Pieces != rb.Pieces || a.Hash() != b.Hash() {
		t.Errorf("in documents %+v, as one %+v", ra, rb)
	}
}

func TestTrainSample(t *testing.T) {
	docs := goSource()[:600]
	total := int64(0)
	for _, d := range docs {
		total += int64(len(d))
	}
	first, r := mustTrain(t, TrainOptions{VocabSize: 400, SampleBytes: 1 << 20}, docs...)
	if r.Sampled != 1<<20 || r.Bytes < 1<<20 || r.Documents == int64(len(docs)) {
		t.Errorf("first mebibyte: %+v", r)
	}
	even, r := mustTrain(t, TrainOptions{VocabSize: 400, SampleBytes: 1 << 20, TotalBytes: total}, docs...)
	if r.Sampled > 1<<20 || r.Sampled < 1<<19 || r.Bytes < total/2 {
		t.Errorf("even mebibyte: %+v of %d", r, total)
	}
	again, _ := mustTrain(t, TrainOptions{VocabSize: 400, SampleBytes: 1 << 20, TotalBytes: total, Workers: 1}, docs...)
	if first.Hash() == even.Hash() || even.Hash() != again.Hash() {
		t.Errorf("hashes: first %s, even %s, again %s", first.Hash(), even.Hash(), again.Hash())
	}
}

// TestTrainSmallCorpus: a vocabulary larger than the corpus supports.
func TestTrainSmallCorpus(t *testing.T) {
	tok, r := mustTrain(t, TrainOptions{VocabSize: 5000}, []byte("the cat, the mat"))
	if r.VocabSize != tok.VocabSize() || r.VocabSize >= 300 || r.Merges != tok.Merges() || r.Merges == 0 ||
		r.LastCount != 2 {
		t.Errorf("report %+v, %d tokens", r, tok.VocabSize())
	}
	if got := len(mustAppend(t, tok, []byte("the"))); got != 1 {
		t.Errorf(`"the" has %d tokens`, got)
	}
	if _, r := mustTrain(t, TrainOptions{VocabSize: 257}, []byte("aaaa")); r.Merges != 0 || r.VocabSize != 257 {
		t.Errorf("without merges: %+v", r)
	}
}

// TestTrainRepeats: runs of one character merge with themselves, and merges that spell the same share a token.
func TestTrainRepeats(t *testing.T) {
	r := newRand(t)
	for range 20 {
		var text []byte
		for range 300 {
			text = append(text, strings.Repeat("ab"[r.IntN(2):][:1], 1+r.IntN(9))...)
			if r.IntN(3) == 0 {
				text = append(text, ' ')
			}
		}
		tok, report := mustTrain(t, TrainOptions{VocabSize: 600}, text)
		back, err := tok.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(back); err != nil {
			t.Fatalf("%+v: %v", report, err)
		}
		if got := tok.Decode(nil, mustAppend(t, tok, text)); !bytes.Equal(got, text) {
			t.Fatal("the text does not come back")
		}
	}
}

func TestTrainErrors(t *testing.T) {
	ctx := context.Background()
	text := []byte("some text, some text")
	for _, size := range []int{-1, 0, 256, maxVocab + 1} {
		if _, _, err := TrainBPE(ctx, docsOf(text), TrainOptions{VocabSize: size}); err == nil ||
			!strings.Contains(err.Error(), fmt.Sprint(size)) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	if _, _, err := TrainBPE(ctx, docsOf(nil, []byte{}), TrainOptions{VocabSize: 300}); !errors.Is(err, ErrNoText) {
		t.Errorf("no text: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := TrainBPE(canceled, docsOf(text), TrainOptions{VocabSize: 300}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	bad := errors.New("bad document")
	docs := func(yield func([]byte, error) bool) {
		if yield(text, nil) {
			yield(nil, bad)
		}
	}
	if _, _, err := TrainBPE(ctx, docs, TrainOptions{VocabSize: 300}); !errors.Is(err, bad) {
		t.Errorf("bad document: %v", err)
	}
}

// TestTrainLongPieces: a piece of megabytes costs about as much as its text in short ones.
func TestTrainLongPieces(t *testing.T) {
	r := newRand(t)
	text := make([]byte, 2<<20)
	for i := range text {
		text[i] = "acgt"[r.IntN(4)]
	}
	tok, report := mustTrain(t, TrainOptions{VocabSize: 300}, text)
	if report.Merges != 43 || report.Unique != len(text)/trainPiece {
		t.Errorf("report %+v", report)
	}
	if got := tok.Decode(nil, mustAppend(t, tok, text)); !bytes.Equal(got, text) {
		t.Error("the text does not come back")
	}
}
