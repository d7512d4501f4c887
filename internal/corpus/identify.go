package corpus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"sync"
)

// Identify returns the corpus with the sizes and hashes that its files have now. Reading its documents fails if a
// file has another content by then.
func (c *Corpus) Identify(ctx context.Context, workers int) (*Corpus, error) {
	id := &Corpus{Sources: make([]Source, len(c.Sources)), Skipped: c.Skipped, opt: c.opt}
	errs := make([]error, len(c.Sources))
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			buf := make([]byte, readBuffer)
			for i := range next {
				s := &id.Sources[i]
				*s = c.Sources[i]
				s.Size, s.Hash, errs[i] = hashFile(ctx, *s, buf)
				if s.pack == 0 && s.kind != table {
					s.Text = s.Size
				}
			}
		})
	}
	for i := range c.Sources {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return id, nil
}

// hashFile reads the file of s as it lies on the disk.
func hashFile(ctx context.Context, s Source, buf []byte) (size int64, hash string, err error) {
	s.pack, s.Hash = 0, ""
	r, err := s.open(ctx)
	if err != nil {
		return 0, "", err
	}
	defer r.close()
	h := sha256.New()
	size, err = io.CopyBuffer(struct{ io.Writer }{h}, r, buf)
	return size, hex.EncodeToString(h.Sum(nil)), err
}
