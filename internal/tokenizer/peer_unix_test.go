//go:build unix

package tokenizer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// For bench/peers/bpe.py, which alternates this with Hugging Face's library.
var (
	peerText    = flag.String("peer", "", "file of documents, each ended by a zero byte")
	peerFile    = flag.String("peer-tokenizer", "", "tokenizer.json to encode with; without one a BPE is trained")
	peerVocab   = flag.Int("peer-vocab", 32768, "vocabulary to train")
	peerWorkers = flag.Int("peer-workers", 1, "workers")
)

// cpuTime returns the time that all threads of the process have computed: on a busy machine the clock says little.
func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestPeer times one encoding of all documents, or one training, and prints what came of it as JSON.
func TestPeer(t *testing.T) {
	if *peerText == "" {
		t.Skip("nothing asked for: -peer FILE")
	}
	data, err := os.ReadFile(*peerText)
	if err != nil {
		t.Fatal(err)
	}
	docs := bytes.Split(bytes.TrimSuffix(data, []byte{0}), []byte{0})
	h := sha256.New()
	var began time.Time
	var before time.Duration
	start := func() { began, before = time.Now(), cpuTime(t) }
	var seconds, cpu float64
	stop := func() { seconds, cpu = time.Since(began).Seconds(), (cpuTime(t) - before).Seconds() }
	if *peerFile == "" {
		runtime.GOMAXPROCS(*peerWorkers)
		start()
		tok, _, err := TrainBPE(context.Background(), docsOf(docs...),
			TrainOptions{VocabSize: *peerVocab, Workers: *peerWorkers})
		stop()
		if err != nil {
			t.Fatal(err)
		}
		var merges []string
		for _, m := range tok.merges {
			merges = append(merges, tok.name(m.A)+" "+tok.name(m.B))
			fmt.Fprintf(h, "%s\n", merges[len(merges)-1])
		}
		if err := os.WriteFile(*peerText+".merges", []byte(fmt.Sprintln(merges)), 0o666); err != nil {
			t.Fatal(err)
		}
	} else {
		file, err := os.ReadFile(*peerFile)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := Parse(file)
		if err != nil {
			t.Fatal(err)
		}
		ids := make([][]int32, len(docs))
		var next atomic.Int64
		var wg sync.WaitGroup
		start()
		for range *peerWorkers {
			wg.Go(func() {
				for i := next.Add(1) - 1; i < int64(len(docs)); i = next.Add(1) - 1 {
					ids[i], _ = tok.Append(make([]int32, 0, len(docs[i])/3), docs[i])
				}
			})
		}
		wg.Wait()
		stop()
		for _, d := range ids {
			h.Write([]byte(hashIDs(d)))
		}
	}
	out, err := json.Marshal(map[string]any{"seconds": seconds, "cpu": cpu, "hash": hex.EncodeToString(h.Sum(nil))})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("peer %s\n", out)
}
