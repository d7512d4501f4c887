package data

import (
	"errors"
	"gimbal/internal/corpus"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/tokenizer"
)

// ids spells labels or inputs for a table: letters, and $ for EOS.
func ids(eos int32, tokens []int32) string {
	var s strings.Builder
	for _, id := range tokens {
		if id == eos {
			s.WriteByte('$')
		} else {
			s.WriteByte(byte(id))
		}
	}
	return s.String()
}

func TestSequencesExactly(t *testing.T) {
	tok := tokenizer.NewBytes()
	if tok.EOS() != 256 {
		t.Fatalf("EOS of the byte tokenizer is %d; the tables below take ids under 256 for bytes", tok.EOS())
	}
	for _, c := range []struct {
		text, start string
		context     int
		want        string // input>label of each sequence
	}{
		{"abcde", "eos", 2, "$a>ab bc>cd de>e$"},
		{"abcd", "eos", 2, "$a>ab bc>cd d>$"},
		{"abcd", "eos", 5, "$abcd>abcd$"},
		{"abcd", "eos", 100, "$abcd>abcd$"},
		{"abcd", "eos", 1, "$>a a>b b>c c>d d>$"},
		{"a", "eos", 4, "$a>a$"},
		{"", "eos", 4, ""},
		{"abcd", "none", 2, "ab>bc cd>d$"},
		{"abc", "none", 2, "ab>bc c>$"},
		{"a", "none", 2, "a>$"},
		{"", "none", 2, ""},
	} {
		// A neighbour on both sides, which must show nowhere.
		s := prepareTexts(t, []string{"XX", c.text, "YY"}, PrepareOptions{Start: c.start})
		var got []string
		sp := s.All(c.context)
		for i := range sp.Sequences() {
			var b Batch
			sp.Read(&b, i)
			if b.Spans[0].Doc == s.index.Ref(1) {
				got = append(got, ids(tok.EOS(), b.Tokens)+">"+ids(tok.EOS(), b.Labels))
			}
		}
		if chunked := sp.Chunked(); (chunked > 0) != (len(got) > 1) && c.context > 2 || sp.Documents() != 2+min(1, len(got)) {
			t.Errorf("%q, context %d: %d documents, %d chunked", c.text, c.context, sp.Documents(), chunked)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q, start %s, context %d: %q, want %q", c.text, c.start, c.context, got, c.want)
		}
	}
}

// TestEveryLabelOnce is the property of an epoch over random corpora; the faults planted in a copy of each must be
// found.
func TestEveryLabelOnce(t *testing.T) {
	r := random(t)
	planted := map[string]int{}
	for round := range 40 {
		texts := randomTexts(r, 1+r.IntN(40), 60)
		texts = append(texts, "a document that is cut and ended, whatever the dice say: 0123456789")
		context := 1 + r.IntN(32)
		start := []string{"eos", "none"}[r.IntN(2)]
		s := prepareTexts(t, texts, PrepareOptions{Start: start, ValFraction: 0.3, shard: 1 + r.Int64N(200)})
		o := newOracle(t, s, texts, start, context)
		sp := s.All(context)
		whole := epoch(sp)
		if err := o.check(whole); err != nil {
			t.Fatalf("round %d, context %d, start %s: %v", round, context, start, err)
		}
		if sp.Tokens() != int64(len(whole.Labels)) {
			t.Fatalf("round %d: split says %d labels; an epoch has %d", round, sp.Tokens(), len(whole.Labels))
		}
		// The two sides together are the same epoch.
		both := epoch(s.Train(context))
		train, val := s.Train(context), s.Val(context)
		for i := range val.Sequences() {
			val.Read(both, i)
		}
		if err := o.check(both); err != nil {
			t.Fatalf("round %d, context %d, start %s, split by %s: %v", round, context, start, s.SplitBy, err)
		}
		if train.Tokens()+val.Tokens() != sp.Tokens() || train.EOS()+val.EOS() != sp.EOS() || both.Bytes != whole.Bytes {
			t.Fatalf("round %d: the sides do not add up", round)
		}
		var labels []int32
		for part := range sp.Labels() {
			labels = append(labels, part...)
		}
		if !slices.Equal(labels, whole.Labels) {
			t.Fatalf("round %d: Labels differs from the sequences in order", round)
		}
		// Any order and any batches: the loader's epoch is the same multiset.
		loader, err := NewLoader(sp, r.Uint64(), context)
		if err == nil {
			mixed := new(Batch)
			var b Batch
			for cur := (Cursor{}); loader.Epoch(cur) == 0; {
				cur = loader.Next(&b, cur)
				appendBatch(mixed, &b)
			}
			dropTail(mixed, int(sp.Sequences()), o.eos) // of the next epoch
			if err := o.check(mixed); err != nil {
				t.Fatalf("round %d, context %d: loader: %v", round, context, err)
			}
		}
		for name, plant := range faults {
			broken := cloneBatch(whole)
			if !plant(broken, o) {
				continue // nothing to break it on in this corpus
			}
			planted[name]++
			if err := o.check(broken); err == nil {
				t.Errorf("round %d: %s was not found", round, name)
			}
		}
	}
	for name := range faults {
		if planted[name] < 5 {
			t.Errorf("%s was planted %d times only", name, planted[name])
		}
	}
}

// faults break a batch in one place; they report whether there was a place.
var faults = map[string]func(b *Batch, o *oracle) bool{
	"a shifted label": func(b *Batch, o *oracle) bool { // the label is the input: predicts itself
		for k := range b.Labels {
			if b.Labels[k] != b.Tokens[k] {
				b.Labels[k] = b.Tokens[k]
				return true
			}
		}
		return false
	},
	"a label from two ahead": func(b *Batch, o *oracle) bool {
		for k := range len(b.Labels) - 1 {
			if b.Labels[k] != b.Labels[k+1] {
				b.Labels[k] = b.Labels[k+1]
				return true
			}
		}
		return false
	},
	"a lost EOS": func(b *Batch, o *oracle) bool {
		k := len(b.Spans) - 1
		for ; k >= 0; k-- {
			if s := b.Spans[k]; s.Len > 1 && b.Labels[s.Start+s.Len-1] == o.eos {
				break
			}
		}
		if k < 0 {
			return false
		}
		at := b.Spans[k].Start + b.Spans[k].Len - 1
		b.Tokens, b.Labels = slices.Delete(b.Tokens, at, at+1), slices.Delete(b.Labels, at, at+1)
		b.Counts = slices.Delete(b.Counts, at, at+1)
		b.Spans[k].Len--
		for i := k + 1; i < len(b.Spans); i++ {
			b.Spans[i].Start--
		}
		b.Counted--
		return true
	},
	"an EOS on a cut chunk": func(b *Batch, o *oracle) bool {
		for _, s := range b.Spans {
			if end := s.Start + s.Len - 1; b.Labels[end] != o.eos {
				b.Labels[end] = o.eos
				b.Bytes--
				return true
			}
		}
		return false
	},
	"a duplicated token": func(b *Batch, o *oracle) bool { // one position given twice, as a sequence of its own
		for _, s := range b.Spans {
			if s.Len > 1 && b.Labels[s.Start] != o.eos {
				at := s.Start
				b.Tokens, b.Labels = append(b.Tokens, b.Tokens[at]), append(b.Labels, b.Labels[at])
				b.Counts = append(b.Counts, true)
				b.Spans = append(b.Spans, Span{Start: len(b.Tokens) - 1, Len: 1, Doc: s.Doc, First: s.First})
				b.Counted++
				b.Bytes++
				return true
			}
		}
		return false
	},
	"no overlap": func(b *Batch, o *oracle) bool { // a later chunk that opens with the start token
		for _, s := range b.Spans {
			if s.First > 0 && b.Tokens[s.Start] != o.eos {
				b.Tokens[s.Start] = o.eos
				return true
			}
		}
		return false
	},
	"a lost sequence": func(b *Batch, o *oracle) bool {
		dropTail(b, len(b.Spans)-1, o.eos)
		return true
	},
	"a label that does not count": func(b *Batch, o *oracle) bool {
		b.Counts[len(b.Counts)/2] = false
		return true
	},
	"a wrong number of bytes": func(b *Batch, o *oracle) bool {
		b.Bytes++
		return true
	},
	"two documents as one": func(b *Batch, o *oracle) bool { // the second sees the first
		for k := range len(b.Spans) - 1 {
			if b.Spans[k].Doc != b.Spans[k+1].Doc && b.Spans[k].Len+b.Spans[k+1].Len <= o.context {
				b.Spans[k].Len += b.Spans[k+1].Len
				b.Spans = slices.Delete(b.Spans, k+1, k+2)
				return true
			}
		}
		return false
	},
}

func cloneBatch(b *Batch) *Batch {
	c := *b
	c.Tokens, c.Labels = slices.Clone(b.Tokens), slices.Clone(b.Labels)
	c.Counts, c.Spans = slices.Clone(b.Counts), slices.Clone(b.Spans)
	c.bounds = nil
	return &c
}

func appendBatch(dst, b *Batch) {
	for _, s := range b.Spans {
		s.Start += len(dst.Tokens)
		dst.Spans = append(dst.Spans, s)
	}
	dst.Tokens, dst.Labels = append(dst.Tokens, b.Tokens...), append(dst.Labels, b.Labels...)
	dst.Counts = append(dst.Counts, b.Counts...)
	dst.Bytes += b.Bytes
	dst.Counted += b.Counted
}

// dropTail keeps the first n sequences.
func dropTail(b *Batch, n int, eos int32) {
	end := len(b.Tokens)
	if n < len(b.Spans) {
		end = b.Spans[n].Start
	}
	b.Tokens, b.Labels, b.Counts, b.Spans = b.Tokens[:end], b.Labels[:end], b.Counts[:end], b.Spans[:n]
	b.Counted, b.Bytes = end, 0
	for _, label := range b.Labels {
		if label != eos {
			b.Bytes++
		}
	}
}

func TestReadAppends(t *testing.T) {
	s := prepareTexts(t, []string{"abc", "de"}, PrepareOptions{})
	sp := s.All(2)
	var b Batch
	sp.Read(&b, 2)
	sp.Read(&b, 0)
	eos := s.tok.EOS()
	if got := ids(eos, b.Tokens) + ">" + ids(eos, b.Labels); got != "$dab"[:2]+"$a>deab" {
		t.Errorf("got %s", got)
	}
	want := []Span{{0, 2, s.index.Ref(1), 1, 0}, {2, 2, s.index.Ref(0), 0, 0}}
	if !slices.Equal(b.Spans, want) || b.Counted != 4 || b.Bytes != 4 {
		t.Errorf("spans %v, counted %d, bytes %d; want %v, 4, 4", b.Spans, b.Counted, b.Bytes, want)
	}
	defer func() {
		if recover() == nil {
			t.Error("a sequence outside of the split did not panic")
		}
	}()
	sp.Read(&b, sp.Sequences())
}

func TestAppendText(t *testing.T) {
	text := strings.Repeat("0123456789", 10)
	s := prepareTexts(t, []string{"", text}, PrepareOptions{ValFraction: 0.25, Start: "none", shard: 7})
	for _, c := range []struct {
		sp   *Split
		want string
	}{{s.All(8), text}, {s.Train(8), text[:75]}, {s.Val(8), text[75:]}} {
		ref, n := c.sp.Document(0)
		if c.sp.Documents() != 1 || n != int64(len(c.want)) || ref != s.index.Ref(1) {
			t.Fatalf("%d documents, %d tokens, %v", c.sp.Documents(), n, ref)
		}
		if got := s.tok.Decode(nil, c.sp.AppendText(nil, 0, 0, n)); string(got) != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		if got := s.tok.Decode(nil, c.sp.AppendText(nil, 0, 3, 9)); string(got) != c.want[3:9] {
			t.Errorf("got %q, want %q", got, c.want[3:9])
		}
	}
}

func TestStartErrors(t *testing.T) {
	c := discover(t, corpus.Options{}, write(t, t.TempDir(), "a.txt", "abc"))
	for _, start := range []string{"bos", "nonsense"} {
		_, err := Prepare(t.Context(), c, tokenizer.NewBytes(), PrepareOptions{CacheDir: t.TempDir(), Start: start})
		if fault := new(corpus.Error); !errors.As(err, &fault) || !strings.Contains(err.Error(), "data.start") {
			t.Errorf("start %s: %v", start, err)
		}
	}
	for _, f := range []float64{-0.1, 1, 2, nan()} {
		_, err := Prepare(t.Context(), c, tokenizer.NewBytes(), PrepareOptions{CacheDir: t.TempDir(), ValFraction: f})
		if fault := new(corpus.Error); !errors.As(err, &fault) || !strings.Contains(err.Error(), "data.val_fraction") {
			t.Errorf("val_fraction %v: %v", f, err)
		}
	}
}

func nan() float64 { zero := 0.0; return zero / zero }
