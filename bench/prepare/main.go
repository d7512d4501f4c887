// Command prepare measures what happens to a corpus before training, stage by stage: wall time, CPU time and the most
// memory so far. The hashes that it prints are those of the tokenizer and of the prepared set: a change that is only
// about speed keeps them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"gimbal/internal/corpus"
	"gimbal/internal/data"
	"gimbal/internal/tokenizer"
)

func main() {
	paths := flag.String("data", "", "files and folders, comma-separated")
	vocab := flag.Int("vocab", 4096, "ids to train")
	sample := flag.Int64("sample", 0, "bytes to train them on; 0: the default")
	load := flag.String("tokenizer", "", "a tokenizer.json to use instead; it is written if it is not there")
	workers := flag.Int("workers", 2, "workers")
	rounds := flag.Int("rounds", 1, "how often the cache is made")
	tmp := flag.String("tmp", "", "where the cache is made; empty: the temporary folder")
	profile := flag.String("cpuprofile", "", "write a CPU profile of the making of the cache")
	flag.Parse()
	m := meter{}
	if err := m.run(*paths, *vocab, *sample, *load, *workers, *rounds, *tmp, *profile); err != nil {
		fmt.Fprintln(os.Stderr, "prepare:", err)
		os.Exit(1)
	}
}

// meter prints what stages take.
type meter struct{ bytes int64 }

func (m *meter) run(paths string, vocab int, sample int64, load string, workers, rounds int, tmp,
	profile string) error {
	ctx := context.Background()
	var c *corpus.Corpus
	var tok *tokenizer.Tokenizer
	err := m.stage("discover", func() (err error) {
		c, err = corpus.Discover(strings.Split(paths, ","), corpus.Options{BadDocuments: "skip"})
		return err
	})
	if err != nil {
		return err
	}
	m.bytes = c.Bytes()
	fmt.Printf("%d files, %d bytes\n", len(c.Sources), m.bytes)
	if err := m.stage("identify", func() (err error) { c, err = c.Identify(ctx, workers); return err }); err != nil {
		return err
	}
	if raw, rerr := os.ReadFile(load); rerr == nil {
		tok, err = tokenizer.Parse(raw)
	} else {
		err = m.stage("train BPE", m.profiled(profile, func() (err error) {
			var r tokenizer.TrainReport
			tok, r, err = tokenizer.TrainBPE(ctx, c.Texts(ctx), tokenizer.TrainOptions{VocabSize: vocab, Workers: workers,
				SampleBytes: sample, TotalBytes: m.bytes})
			fmt.Printf("%+v\n", r)
			return err
		}))
		if err == nil && load != "" {
			raw, _ := tok.JSON()
			err = os.WriteFile(load, raw, 0o600)
		}
		profile = ""
	}
	if err != nil {
		return err
	}
	fmt.Printf("tokenizer %s, %d ids\n", tok.Hash(), tok.VocabSize())
	for range rounds {
		dir, err := os.MkdirTemp(tmp, "prepare-")
		if err != nil {
			return err
		}
		var s *data.Set
		opt := data.PrepareOptions{CacheDir: filepath.Join(dir, "cache"), ValFraction: 0.05, Workers: workers}
		prepare := func() (err error) { s, err = data.Prepare(ctx, c, tok, opt); return err }
		if err := m.stage("prepare", m.profiled(profile, prepare)); err != nil {
			return err
		}
		fmt.Printf("set %s, split %d\n", s.Hash, s.Val(256).Sequences())
		if err := s.Close(); err != nil {
			return err
		}
		if err := m.stage("open again", prepare); err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// profiled returns f with a CPU profile around it.
func (m *meter) profiled(path string, f func() error) func() error {
	if path == "" {
		return f
	}
	return func() error {
		out, err := os.Create(path)
		if err != nil {
			return err
		}
		defer out.Close()
		if err := pprof.StartCPUProfile(out); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
		return f()
	}
}

// stage runs f and prints what it took.
func (m *meter) stage(name string, f func() error) error {
	before, began := usage(), time.Now()
	err := f()
	wall, after := time.Since(began), usage()
	fmt.Printf("%-10s wall %6.2f s, CPU %6.2f s (system %5.2f)", name, wall.Seconds(), after.cpu-before.cpu,
		after.system-before.system)
	if m.bytes > 0 {
		fmt.Printf("; %6.1f MB/s, %5.2f CPU ns/byte", float64(m.bytes)/1e6/wall.Seconds(),
			(after.cpu-before.cpu)*1e9/float64(m.bytes))
	}
	fmt.Printf("; peak %d MB\n", after.peak>>10)
	return err
}

// used is what this process has used: seconds, and its most resident memory in kB.
type used struct {
	cpu, system float64
	peak        int64
}

func usage() used {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return used{}
	}
	user, system := time.Duration(r.Utime.Nano()), time.Duration(r.Stime.Nano())
	return used{(user + system).Seconds(), system.Seconds(), r.Maxrss}
}
