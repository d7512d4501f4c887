package corpus

import (
	"bytes"
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

	"gimbal/internal/sniff"
)

// pack is how a file is compressed.
type pack uint8

const (
	_ pack = iota // not at all
	gz
	zst
)

// Limits of a packed file. Text shrinks to a third or a tenth, and boilerplate to a hundredth: a file that grows more
// than a thousandfold is a bomb. A zstd frame states how far back it refers; the memory for that is limited by the
// size of the file.
const (
	maxRatio  = 1000
	ratioFrom = 8 << 20   // bytes unpacked from which the ratio is checked
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

// packOf tells a packed file by how it begins.
func packOf(head []byte) pack {
	switch {
	case bytes.HasPrefix(head, []byte("\x1F\x8B")):
		return gz
	case bytes.HasPrefix(head, []byte("\x28\xB5\x2F\xFD")):
		return zst
	}
	return 0
}

// reader reads the text of a source. It unpacks and decodes, stops with its context, and refuses a content with
// another hash, if the hash is known.
type reader struct {
	ctx context.Context
	s   *Source
	f   *os.File
	sum hash.Hash // nil where nobody wants it

	text   io.Reader // f, unpacked and decoded
	done   func()    // frees what unpacking holds
	in     int64     // bytes read of f
	out    int64     // bytes of text
	broken error     // of f, which the unpacker may wrap beyond recognition
}

// open opens the text of a source.
func (s *Source) open(ctx context.Context) (*reader, error) {
	var sum hash.Hash
	if s.Hash != "" {
		sum = sha256.New()
	}
	r, err := s.unpack(ctx, sum)
	if err != nil {
		return nil, err
	}
	if d := sniff.Decoder(s.Encoding); d != nil {
		r.text = d.Reader(r.text)
	}
	return r, nil
}

// unpack opens a source without decoding it. What is read of the file is added to sum, unless that is nil.
func (s *Source) unpack(ctx context.Context, sum hash.Hash) (*reader, error) {
	f, err := os.Open(s.Path)
	if err != nil {
		return nil, cannot("open", s.Path, err)
	}
	r := &reader{ctx: ctx, f: f, s: s, sum: sum, done: func() {}}
	r.text = file{r}
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
	r := f.r
	n, err := r.f.Read(p)
	r.in += int64(n)
	if r.sum != nil {
		r.sum.Write(p[:n])
	}
	switch {
	case err != nil && err != io.EOF:
		r.broken = cannot("read", r.s.Path, err)
	case err == io.EOF && r.s.Hash != "" && hex.EncodeToString(r.sum.Sum(nil)) != r.s.Hash:
		r.broken = changed(r.s.Path)
	default:
		return n, err
	}
	return n, r.broken
}

func changed(path string) error {
	return &Error{Path: path, What: "changed while it was being read", Advice: "run again when nothing writes to it"}
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.text.Read(p)
	if r.out += int64(n); r.out > ratioFrom && r.out/maxRatio > r.in {
		return 0, &Error{Path: r.s.Path, What: fmt.Sprintf("grows more than %d times when it is unpacked", maxRatio),
			Advice: "this is not text; take it out of the data"}
	}
	if err == nil || err == io.EOF && (r.in > 0 || r.s.pack == 0) {
		return n, err
	}
	return n, r.fault(err)
}

// fault says what an error of the unpacker means for the user.
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
		e.What, e.Err = "is empty, and a packed file never is", nil
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrWindowSizeTooSmall):
		e.What = "needs more memory to unpack than the limit"
		e.Advice = "pack it again with zstd -19 or lower"
	}
	if r.out > 0 {
		e.What += fmt.Sprintf(" (after %d bytes of text)", r.out)
	}
	return e
}
