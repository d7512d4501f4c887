package data

import (
	"bufio"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gimbal/internal/corpus"
	"gimbal/internal/tokenizer"
)

var gigabytes = flag.Float64("gigabytes", 0,
	"size of the corpus of TestLargeCorpus, which is written to the temporary folder")

// TestLargeCorpus prepares a corpus of generated text, half of it in documents of some kilobytes and half in a single
// one: the most memory that the process ever had until then stays below 500 MB, whatever the size. What is read of it
// later is mapped, and stays in memory as long as nobody else wants that; memory of the process's own stays below 500
// MB all the time.
func TestLargeCorpus(t *testing.T) {
	if *gigabytes == 0 {
		t.Skip("takes time and disk by the gigabyte: -gigabytes 10")
	}
	dir, r := t.TempDir(), rand.New(rand.NewPCG(1, 2))
	words := make([]string, 5000)
	for i := range words {
		b := make([]byte, 2+r.IntN(9))
		for k := range b {
			b[k] = "etaoinshrdlucmfwypvbgkjqxz"[min(25, int(r.ExpFloat64()*5))]
		}
		words[i] = string(b)
	}
	var page strings.Builder // text to cut documents from
	for page.Len() < 8<<20 {
		page.WriteString(words[min(len(words)-1, int(r.ExpFloat64()*400))])
		page.WriteString([]string{" ", " ", " ", " ", " ", ", ", ".\n"}[r.IntN(7)])
	}
	half := int64(*gigabytes * 5e8)
	fill := func(name string, piece func() string) {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		w := bufio.NewWriterSize(f, 1<<20)
		for n := int64(0); n < half; {
			k, err := w.WriteString(piece())
			if err != nil {
				t.Fatal(err)
			}
			n += int64(k)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cut := func() string {
		n := 200 + int(r.ExpFloat64()*4000)
		at := r.IntN(page.Len() - n)
		return page.String()[at : at+n]
	}
	fill("documents.jsonl", func() string { return "{\"text\":" + strconv.Quote(cut()) + "}\n" })
	fill("one.txt", cut)
	done, most := make(chan struct{}), make(chan int)
	go func() {
		peak := 0
		for {
			select {
			case <-done:
				most <- peak
				return
			case <-time.After(20 * time.Millisecond):
				peak = max(peak, memory(t, "RssAnon"))
			}
		}
	}()
	c := discover(t, corpus.Options{}, dir)
	tok, _, err := tokenizer.TrainBPE(t.Context(), c.Texts(t.Context()),
		tokenizer.TrainOptions{VocabSize: 4096, TotalBytes: c.Bytes(), SampleBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes in two files; %d kB before tokenising", c.Bytes(), memory(t, "VmHWM"))
	began := time.Now()
	s := prepare(t, c, tok, PrepareOptions{ValFraction: 0.05})
	seconds := time.Since(began).Seconds()
	prepared := memory(t, "VmHWM")
	st, err := s.Stats(256)
	if err != nil {
		t.Fatal(err)
	}
	l := loader(t, s.Train(256), 1, 8192)
	var b Batch
	cur := Cursor{}
	for range 1000 {
		cur = l.Next(&b, cur)
	}
	close(done)
	own := <-most
	t.Logf("prepared in %.0f s, %.1f MB/s; peak until then %d kB; of its own at any time %d kB\n%s", seconds,
		float64(c.Bytes())/1e6/seconds, prepared, own, st)
	if prepared > 500_000 || own > 500_000 {
		t.Error("that is more than 500 MB")
	}
}

// memory returns a line of /proc/self/status in kB: VmHWM is the most resident memory so far, mapped files included,
// RssAnon what the process itself has now.
func memory(t *testing.T, name string) int {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				t.Error(err)
			}
			return kb
		}
	}
	t.Errorf("no %s in /proc/self/status", name)
	return 0
}
