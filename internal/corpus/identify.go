package corpus

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/text/transform"

	"gimbal/internal/par"
	"gimbal/internal/sniff"
)

const (
	mostInvalid = 0.05  // share of bytes that are not UTF-8 from which a file is no text
	muchInvalid = 0.001 // share of the text from which a person is warned
	mostGuesses = 20    // files from which an encoding is guessed
)

// rawEncoding is UTF-8, and keeps files whatever their bytes are.
const rawEncoding = "raw"

// invalidFile is the kind of a file that is left out because of mostInvalid.
const invalidFile = "file that is not UTF-8"

// Identify returns the corpus with the present sizes and hashes of its files, without those that are not text by their
// bytes. Reading its documents fails if the content of a file has changed since. A corpus that is identified is
// returned as it is. workers is 0 for one per processor.
//
// It reads every file once. A file of which more than 5 % of the bytes are not valid in its encoding is left out,
// unless Options.Encoding is raw. If such files have more than 5 % of all bytes, that is an error.
func (c *Corpus) Identify(ctx context.Context, workers int) (*Corpus, error) {
	if c.identified {
		return c, nil
	}
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	id := new(*c)
	id.Sources, id.Skipped, id.first = slices.Clone(c.Sources), maps.Clone(c.Skipped), maps.Clone(c.first)
	id.decoded, id.identified = map[string]*decoding{}, true
	found := make([]content, len(c.Sources))
	errs := make([]error, len(c.Sources))
	var next, guesses atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(par.Guard(func() {
			buf := make([]byte, readBuffer)
			for i := next.Add(1) - 1; i < int64(len(errs)); i = next.Add(1) - 1 {
				found[i], errs[i] = id.Sources[i].identify(ctx, buf, &guesses)
			}
		}))
	}
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, errs[i]
	}
	return id, id.leaveOut(found)
}

// content is what the bytes of a file are.
type content struct {
	bytes   int64  // of text, unpacked
	invalid int64  // of these, not UTF-8; in another encoding those that stand for what cannot be decoded
	guess   string // the encoding that invalid bytes look like; "": unknown
}

// identify fills in size and hash of a source, and decides between its encoding and UTF-8.
func (s *Source) identify(ctx context.Context, buf []byte, guesses *atomic.Int64) (found content, err error) {
	sum := sha256.New()
	raw := *s
	raw.Hash = ""
	if s.kind == table {
		raw.pack = 0
	}
	r, err := raw.unpack(ctx, sum)
	if err != nil {
		return found, err
	}
	defer r.close()
	var decoded sniff.Decoded
	var decode *transform.Writer
	if d := sniff.Decoder(s.Encoding); d != nil {
		decode = transform.NewWriter(&decoded, d)
	}
	var invalid sniff.InvalidUTF8
	high := byte(0)
	for err == nil {
		var n int
		n, err = r.Read(buf)
		found.bytes += int64(n)
		if s.kind == table {
			continue
		}
		before := invalid.Found()
		if invalid.Write(buf[:n]); !before && invalid.Found() && decode == nil && guesses.Add(1) <= mostGuesses {
			found.guess = sniff.Guess(buf[:n])
		}
		if decode != nil {
			for _, b := range buf[:n] {
				high |= b
			}
			_, _ = decode.Write(buf[:n]) // it only counts
		}
	}
	if err != io.EOF {
		return found, err
	}
	if _, err := io.Copy(io.Discard, file{r}); err != nil { // behind what was packed
		return found, err
	}
	s.Size, s.Hash = r.in, hex.EncodeToString(sum.Sum(nil))
	found.invalid = invalid.End()
	if decode != nil {
		_ = decode.Close()
		// Text that is UTF-8 already is left alone, and so is ASCII. Names and marks of a file decide before that.
		if !s.marked && found.invalid == 0 && (high >= 0x80 || decoded.Bytes == found.bytes) {
			s.Encoding = ""
		} else {
			found.invalid, found.bytes = decoded.Lost, decoded.Bytes
		}
	}
	if s.kind != table && s.pack == 0 {
		s.Text = found.bytes
	}
	return found, nil
}

// leaveOut drops the files that are not text by their bytes.
func (c *Corpus) leaveOut(found []content) error {
	kept := c.Sources[:0]
	var all, bytes, invalid int64
	guesses := map[string]int64{}
	for i, s := range c.Sources {
		f := found[i]
		all += f.bytes
		if f.guess != "" {
			guesses[f.guess]++
		}
		if c.opt.raw() || float64(f.invalid) <= mostInvalid*float64(f.bytes) {
			kept = append(kept, s)
			if s.Encoding != "" {
				c.decode(&s, f)
			}
			continue
		}
		bytes, invalid = bytes+f.bytes, invalid+f.invalid
		c.skip(invalidFile, s.Root, s.Path)
	}
	if best := mostFirst(guesses); len(best) > 0 {
		c.guess = best[0]
	}
	if float64(bytes) > mostInvalid*float64(all) {
		return c.notText(float64(bytes)/float64(all), float64(invalid)/float64(bytes))
	}
	c.Sources = kept
	return c.checkWeights()
}

// decoding is what was decoded from an encoding.
type decoding struct {
	files       int64
	first       []string // of the files
	bytes, lost int64    // of the text, and of those that stand for what could not be decoded
}

func (c *Corpus) decode(s *Source, found content) {
	d := c.decoded[s.Encoding]
	if d == nil {
		d = new(decoding)
		c.decoded[s.Encoding] = d
	}
	d.files, d.first = d.files+1, appendFirst(d.first, c.short(s.Root, s.Path))
	d.bytes, d.lost = d.bytes+found.bytes, d.lost+found.invalid
}

// notText is the error of a corpus of which too much is in no known encoding: a share of its bytes, in files of
// which a share of the bytes is invalid.
func (c *Corpus) notText(share, invalid float64) error {
	in := c.opt.encoding()
	if in == "" {
		in = "UTF-8"
	}
	n := c.Skipped[invalidFile]
	e := &Error{What: fmt.Sprintf("%.3g %% of the text is in %s that %s not in %s%s: of their bytes %.2g %% are invalid",
		100*share, CountKind(n, "file"), is(n), in, named(c.first[invalidFile], n), 100*invalid)}
	e.Advice = "set data.encoding to the encoding they are in, or to raw to learn the bytes as they are"
	if c.guess != "" {
		e.Advice = fmt.Sprintf("they look like %s: set data.encoding = %q, or \"raw\" to learn the bytes as they are",
			c.guess, c.guess)
	}
	return e
}

// hashFile reads the file of s without unpacking it.
func hashFile(ctx context.Context, s Source, buf []byte) (size int64, hash string, err error) {
	s.pack, s.Hash = 0, ""
	sum := sha256.New()
	r, err := s.unpack(ctx, sum)
	if err != nil {
		return 0, "", err
	}
	defer r.close()
	size, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, buf)
	return size, hex.EncodeToString(sum.Sum(nil)), err
}

// mostFirst returns the names with the highest counts first, then by name.
func mostFirst(counts map[string]int64) []string {
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
}
