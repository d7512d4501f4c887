package corpus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// pack is how a file is compressed.
type pack uint8

const (
	_ pack = iota // not at all
	gz
	zst
)

// Limits of what a packed file may do. Text shrinks to a third or a tenth, and boilerplate to a hundredth: what grows
// more than a thousandfold is a bomb. A zstd frame states how far back it refers; the memory for that is given to a
// file only as far as its size can justify it.
const (
	maxRatio  = 1000
	ratioFrom = 8 << 20   // bytes unpacked from which the ratio is looked at
	minWindow = 8 << 20   // what `zstd -19` uses
	maxWindow = 128 << 20 // what `zstd --ultra -22` and `--long` use
)

// cutPack returns a file name without its ending for compression.
func cutPack(name string) (string, pack) {
	if rest, ok := strings.CutSuffix(name, ".gz"); ok {
		return rest, gz
	}
	if rest, ok := strings.CutSuffix(name, ".zst"); ok {
		return rest, zst
	}
	return name, 0
}

// reader reads the text of a source: it unpacks, stops with its context, and, when the content's hash is known, refuses
// another content.
type reader struct {
	ctx context.Context
	s   *Source
	f   *os.File
	sum hash.Hash // nil when there is nothing to compare

	text   io.Reader // f, unpacked; nil when it is not packed
	done   func()    // gives back what unpacking holds
	in     int64     // bytes read of f
	out    int64     // bytes unpacked
	broken error     // of f or the limits, which the unpacker may wrap beyond recognition
}

// open begins to read the text of a source.
func (s *Source) open(ctx context.Context) (*reader, error) {
	f, err := os.Open(s.Path)
	if err != nil {
		return nil, &Error{Path: s.Path, What: "cannot open", Err: cause(err),
			Advice: "make it readable for this user, and do not move files while they are read"}
	}
	r := &reader{ctx: ctx, f: f, s: s, done: func() {}}
	if s.Hash != "" {
		r.sum = sha256.New()
	}
	switch s.pack {
	case gz:
		var z *gzip.Reader
		if z, err = gzip.NewReader(file{r}); err == nil {
			r.text = z
		}
	case zst:
		var z *zstd.Decoder
		window := min(max(minWindow, maxRatio*s.Size), maxWindow)
		z, err = zstd.NewReader(file{r}, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(uint64(window)))
		if err == nil {
			r.text, r.done = z, z.Close
		}
	}
	if err != nil {
		f.Close()
		return nil, r.fault(err)
	}
	return r, nil
}

func (r *reader) close() {
	r.done()
	r.f.Close() // only read: nothing can be lost
}

// estimate guesses the bytes of text in a packed file from its beginning.
func (r *reader) estimate(unpacked int64, whole bool) int64 {
	if whole || r.in == 0 {
		return unpacked
	}
	return int64(float64(r.s.Size) * float64(r.out) / float64(r.in))
}

// file is the file below the unpacker.
type file struct{ r *reader }

func (f file) Read(p []byte) (int, error) {
	n, err := f.r.raw(p)
	if err != nil && err != io.EOF {
		f.r.broken = err
	}
	return n, err
}

// raw reads the file itself.
func (r *reader) raw(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.f.Read(p)
	r.in += int64(n)
	if r.sum != nil {
		r.sum.Write(p[:n])
		if err == io.EOF && hex.EncodeToString(r.sum.Sum(nil)) != r.s.Hash {
			return n, changed(r.s.Path)
		}
	}
	if err != nil && err != io.EOF {
		err = &Error{Path: r.s.Path, What: "cannot read", Err: cause(err)}
	}
	return n, err
}

func changed(path string) error {
	return &Error{Path: path, What: "changed while it was being read", Advice: "run again when nothing writes to it"}
}

func (r *reader) Read(p []byte) (int, error) {
	if r.text == nil {
		return r.raw(p)
	}
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.text.Read(p)
	if r.out += int64(n); r.out > ratioFrom && r.out/maxRatio > r.in {
		return 0, &Error{Path: r.s.Path, What: fmt.Sprintf("grows more than %d times when it is unpacked", maxRatio),
			Advice: "this is no text; take it out of the data"}
	}
	if err == nil || err == io.EOF && r.in > 0 {
		return n, err
	}
	return n, r.fault(err)
}

// fault is what the unpacker's error means to the user.
func (r *reader) fault(err error) error {
	if r.broken != nil {
		return r.broken
	}
	e := &Error{Path: r.s.Path, What: "is not what its name says, or is damaged", Err: err,
		Advice: "pack it again, or take it out of the data"}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF) && r.in > 0:
		e.What, e.Err = "ends early", nil
		e.Advice = "copy it again"
	case errors.Is(err, io.EOF):
		e.What, e.Err = "is empty, which no packed file is", nil
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrWindowSizeTooSmall):
		e.What = "wants more memory to be unpacked than it is given"
		e.Advice = "pack it again with zstd -19 or lower"
	}
	if r.out > 0 {
		e.What += fmt.Sprintf(" (behind %d bytes of text)", r.out)
	}
	return e
}
