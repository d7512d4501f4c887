package tokenizer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gimbal/internal/split"
)

// trained returns a small tokenizer of this package's own kind of text.
func trained(t testing.TB) *Tokenizer {
	t.Helper()
	tok, err := trainedOnce()
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

var trainedOnce = sync.OnceValues(func() (*Tokenizer, error) {
	docs := [][]byte{
		[]byte(strings.Repeat("aaaa   \n\n-- ", 500)),
		[]byte("中文字中文字中文 中文字\r\n'S don't We'RE x1234 "),
	}
	for i, f := range goSource() {
		if i < 100 {
			docs = append(docs, f)
		}
	}
	tok, _, err := TrainBPE(context.Background(), docsOf(docs...), TrainOptions{VocabSize: 1500})
	return tok, err
})

// linear reports whether f takes time in proportion to its text: eight times as much text takes less than three times
// eight times as long, where the square is 64. It tries some times, as the machine may be busy.
func linear(text []byte, f func(text []byte)) (ratio float64, ok bool) {
	clock := func(text []byte) float64 {
		start := time.Now()
		f(text)
		return time.Since(start).Seconds()
	}
	for range 8 {
		part := clock(text[:len(text)/8])
		if ratio = clock(text) / part; ratio < 24 {
			return ratio, true
		}
	}
	return ratio, false
}

// naive encodes by the definition: split by the oracle, then again and again
// the merge of lowest rank, the leftmost of equals.
func naive(t *Tokenizer, text []byte) []int32 {
	rank := map[[2]int32]int{}
	for r, m := range t.merges {
		rank[[2]int32{m.A, m.B}] = r
	}
	var out []int32
	for len(text) > 0 {
		n := t.split.First(text, split.MaxPiece)
		var w []int32
		for _, c := range text[:n] {
			w = append(w, t.byteID[c])
		}
		for {
			best, at := len(t.merges), 0
			for i := 0; i+1 < len(w); i++ {
				if r, ok := rank[[2]int32{w[i], w[i+1]}]; ok && r < best {
					best, at = r, i
				}
			}
			if best == len(t.merges) {
				break
			}
			w[at] = t.merges[best].ID
			w = slices.Delete(w, at+1, at+2)
		}
		out = append(out, w...)
		text = text[n:]
	}
	return out
}

func mustAppend(t testing.TB, tok *Tokenizer, text []byte) []int32 {
	t.Helper()
	ids, err := tok.Append(nil, text)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// mixedText is source code with hard parts and long runs in it.
func mixedText(r *rand.Rand, n int) []byte {
	var b []byte
	for len(b) < n {
		switch r.IntN(8) {
		case 0:
			b = append(b, hardText(r, 10)...)
		case 1:
			b = append(b, strings.Repeat(hardParts[r.IntN(len(hardParts))], r.IntN(200))...)
		default:
			f := goSource()[r.IntN(100)]
			i := r.IntN(len(f))
			b = append(b, f[i:min(len(f), i+r.IntN(400))]...)
		}
	}
	return b[:n]
}

func TestAppendAgainstDefinition(t *testing.T) {
	own := trained(t)
	r := newRand(t)
	for _, s := range []*split.Split{split.GPT2, split.Qwen2, split.Llama3} {
		tok := build(KindBPE, s, vocabOf(own), own.merges, own.added)
		for range 40 {
			text := mixedText(r, r.IntN(3000))
			got, want := mustAppend(t, tok, text), naive(tok, text)
			if !slices.Equal(got, want) {
				t.Fatalf("split %p of %q:\ngot  %v\nwant %v", s, text, got, want)
			}
		}
	}
}

func TestRoundTrip(t *testing.T) {
	r := newRand(t)
	for _, tok := range []*Tokenizer{trained(t), NewBytes()} {
		for range 200 {
			text := mixedText(r, r.IntN(2000))
			if got := tok.Decode(nil, mustAppend(t, tok, text)); !bytes.Equal(got, text) {
				t.Fatalf("%s: %q comes back as %q", tok.Kind(), text, got)
			}
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, p := range hardParts {
		f.Add([]byte(p+p+" "+p), uint16(3))
	}
	f.Add([]byte(EndOfText), uint16(2))
	gaps, plain := lacking(f, "s", "ð", "ÿ", "¸"), []*Tokenizer{trained(f), NewBytes()}
	inTwo := map[*Tokenizer]*Encoder{gaps: gaps.NewEncoder(), plain[0]: plain[0].NewEncoder(),
		plain[1]: plain[1].NewEncoder()}
	write := func(tok *Tokenizer, text []byte, cut uint16) ([]int32, error) {
		e, k := inTwo[tok], min(int(cut), len(text))
		ids, _ := e.Write(nil, text[:k])
		ids, _ = e.Write(ids, text[k:])
		return e.Flush(ids)
	}
	f.Fuzz(func(t *testing.T, text []byte, cut uint16) {
		for _, tok := range plain {
			ids := mustAppend(t, tok, text)
			if got := tok.Decode(nil, ids); !bytes.Equal(got, text) {
				t.Fatalf("%q comes back as %q", text, got)
			}
			if slices.Contains(ids, tok.EOS()) {
				t.Fatalf("%q holds a special token", text)
			}
			if got, _ := write(tok, text, cut); !slices.Equal(got, ids) {
				t.Fatalf("%q in two parts gives %v, at once %v", text, got, ids)
			}
		}
		ids, err := gaps.Append(nil, text)
		got, again := write(gaps, text, cut)
		if !slices.Equal(got, ids) || fmt.Sprint(again) != fmt.Sprint(err) || !bytes.HasPrefix(text, gaps.Decode(nil, ids)) {
			t.Fatalf("%q in two parts gives %v, %v, at once %v, %v", text, got, again, ids, err)
		}
	})
}

func TestSpecialTextIsText(t *testing.T) {
	chars := NewChars([]rune(EndOfText))
	for _, tok := range []*Tokenizer{trained(t), NewBytes(), chars} {
		ids := mustAppend(t, tok, []byte(EndOfText))
		if slices.Contains(ids, tok.EOS()) || len(ids) < 2 {
			t.Errorf("%s: %q becomes %v", tok.Kind(), EndOfText, ids)
		}
		ids = append(ids, tok.EOS())
		if got := tok.Decode(nil, ids); string(got) != EndOfText {
			t.Errorf("%s: decodes as %q", tok.Kind(), got)
		}
		if len(tok.Bytes(tok.EOS())) != 0 || int(tok.EOS()) != tok.VocabSize()-1 {
			t.Errorf("%s: end of text is token %d of %d and spells %q", tok.Kind(), tok.EOS(), tok.VocabSize(),
				tok.Bytes(tok.EOS()))
		}
	}
}

func TestStart(t *testing.T) {
	tok := NewBytes()
	if id, ok, err := tok.Start("eos"); id != 256 || !ok || err != nil {
		t.Errorf("eos: %d %t %v", id, ok, err)
	}
	if _, ok, err := tok.Start("none"); ok || err != nil {
		t.Errorf("none: %t %v", ok, err)
	}
	if _, _, err := tok.Start("bos"); !errors.Is(err, ErrNoBOS) {
		t.Errorf("bos: %v", err)
	}
	if _, _, err := tok.Start("pad"); err == nil || !strings.Contains(err.Error(), `"pad"`) {
		t.Errorf("pad: %v", err)
	}
	if _, ok := tok.BOS(); ok {
		t.Error("bytes has a beginning of text")
	}
}

func TestChars(t *testing.T) {
	alphabet, err := CollectChars(docsOf([]byte("zab\n"), []byte("中\ufffdb")))
	if err != nil {
		t.Fatal(err)
	}
	if want := []rune("\nabz中\ufffd"); !slices.Equal(alphabet, want) {
		t.Fatalf("alphabet %q, want %q", alphabet, want)
	}
	tok := NewChars(append(alphabet, 'a'))
	if tok.VocabSize() != 7 || tok.EOS() != 6 {
		t.Fatalf("%d tokens, end of text %d", tok.VocabSize(), tok.EOS())
	}
	text := []byte("ab\n中z\ufffd")
	ids := mustAppend(t, tok, text)
	if want := []int32{1, 2, 0, 4, 3, 5}; !slices.Equal(ids, want) {
		t.Fatalf("ids %v, want %v", ids, want)
	}
	if got := tok.Decode(nil, ids); !bytes.Equal(got, text) {
		t.Fatalf("comes back as %q", got)
	}

	for _, c := range []struct {
		text         string
		char         rune
		bad          byte
		offset, line int64
	}{
		{"ab\n\nq中", 'q', 0, 4, 3},
		{"中文", '文', 0, 3, 1},
		{"a\n\xffb", 0, 0xff, 2, 2},
		{"a\n中\xe4\xb8", 0, 0xe4, 5, 2},
		{"\xe4\xb8b", 0, 0xe4, 0, 1},
	} {
		_, whole := tok.Append(nil, []byte(c.text))
		e := tok.NewEncoder()
		var parts error
		for i := range len(c.text) {
			if _, err := e.Write(nil, []byte(c.text[i:i+1])); err != nil {
				parts = err
			}
		}
		if _, err := e.Flush(nil); err != nil {
			parts = err
		}
		for _, err := range []error{whole, parts} {
			var unseen *UnseenCharError
			var invalid *InvalidByteError
			switch {
			case c.bad == 0 && errors.As(err, &unseen):
				if *unseen != (UnseenCharError{c.char, Place{c.offset, c.line}}) {
					t.Errorf("%q: %v", c.text, err)
				}
			case c.bad != 0 && errors.As(err, &invalid):
				if *invalid != (InvalidByteError{c.bad, Place{c.offset, c.line}}) {
					t.Errorf("%q: %v", c.text, err)
				}
			default:
				t.Errorf("%q: error %v", c.text, err)
			}
		}
		if ids, err := e.Write(nil, []byte("ab")); err != nil || len(ids) != 2 {
			t.Errorf("after the fault: %v %v", ids, err)
		}
	}

	_, err = CollectChars(docsOf([]byte("ok"), []byte("a\nb\xc3")))
	var invalid *InvalidByteError
	if !errors.As(err, &invalid) || *invalid != (InvalidByteError{0xc3, Place{3, 2}}) ||
		!strings.Contains(err.Error(), "document 2") {
		t.Errorf("CollectChars: %v", err)
	}
}

// TestEncoder cuts texts at random places.
func TestEncoder(t *testing.T) {
	r := newRand(t)
	own := trained(t)
	for _, tok := range []*Tokenizer{
		own, NewBytes(), NewChars(nil),
		build(KindBPE, split.GPT2, vocabOf(own), own.merges, own.added),
		build(KindBPE, split.Llama3, vocabOf(own), own.merges, own.added),
	} {
		e := tok.NewEncoder()
		for i := range 1500 {
			text, most := hardText(r, 1+r.IntN(20)), 1+r.IntN(12)
			if i%10 == 0 {
				text, most = mixedText(r, r.IntN(5000)), 1+r.IntN(1+r.IntN(2000))
			}
			if tok.Kind() == KindChars {
				text = bytes.ToValidUTF8(text, nil)
				tok = NewChars([]rune(string(text)))
				e = tok.NewEncoder()
			}
			want := mustAppend(t, tok, text)
			got := encodeInParts(t, e, text, most, r)
			if !slices.Equal(got, want) {
				t.Fatalf("%s, split %p: %q in parts gives\n%v, at once\n%v", tok.Kind(), tok.split, text, got, want)
			}
		}
	}
}

func encodeInParts(t *testing.T, e *Encoder, text []byte, most int, r *rand.Rand) []int32 {
	t.Helper()
	var ids []int32
	var err error
	for rest := text; len(rest) > 0; {
		n := min(len(rest), r.IntN(most+1))
		if ids, err = e.Write(ids, rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if ids, err = e.Flush(ids); err != nil {
		t.Fatal(err)
	}
	return ids
}

// TestEncoderLongRuns: runs longer than a piece may be are cut at the same
// places for any parts, and held in bounded memory.
func TestEncoderLongRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	tok := trained(t)
	r := newRand(t)
	for _, unit := range []string{"中", " "} {
		run := strings.Repeat(unit, split.MaxPiece/len(unit)*3/2)
		text := []byte("x" + run[:len(run)-1] + "y\n" + run[:99])
		want := mustAppend(t, tok, text)
		e := tok.NewEncoder()
		if got := encodeInParts(t, e, text, 200_000, r); !slices.Equal(got, want) {
			t.Errorf("%q: in parts %d tokens, at once %d", unit, len(got), len(want))
		}
		if got := tok.Decode(nil, want); !bytes.Equal(got, text) {
			t.Errorf("%q: the text does not come back", unit)
		}
		text = text[1 : split.MaxPiece+100] // a run from the start on
		want = mustAppend(t, tok, text)
		for cut := split.MaxPiece - 3; cut <= split.MaxPiece+3; cut++ {
			got, _ := e.Write(nil, text[:cut])
			got, _ = e.Write(got, text[cut:])
			got, _ = e.Flush(got)
			if !slices.Equal(got, want) {
				t.Errorf("%q: other tokens when cut at %d", unit, cut)
			}
		}
		if cap(e.tail) > 4*split.MaxPiece {
			t.Errorf("%q: the encoder holds %d bytes", unit, cap(e.tail))
		}
	}
}

func TestConcurrentAppend(t *testing.T) {
	tok := trained(t)
	text := bytes.Join(goSource()[:20], nil)
	want := hashIDs(mustAppend(t, tok, text))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if ids, err := tok.Append(nil, text); err != nil || hashIDs(ids) != want {
				t.Errorf("other ids, error %v", err)
			}
		})
	}
	wg.Wait()
}

func TestBytesPanics(t *testing.T) {
	for _, id := range []int32{-1, 257} {
		func() {
			defer func() {
				if recover() != "tokenizer: id out of range" {
					t.Errorf("no panic for id %d", id)
				}
			}()
			NewBytes().Bytes(id)
		}()
	}
}
