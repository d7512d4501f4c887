package corpus

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"gimbal/internal/chat"
	"gimbal/internal/record"
	"gimbal/internal/sniff"
)

// Options say how sources become documents.
type Options struct {
	Separator    string    // cuts a plain text file into documents; "" makes a file one document
	Fields       []string  // which keys of records are read, such as "text=content"; nil: those that are known
	BadDocuments string    // what a broken line or row does: "stop" (default, also "") or "skip" (counted)
	BadShare     float64   // with "skip": the largest share of documents that may be skipped, in [0, 1]
	Splits       bool      // Discover only: files and folders named train, valid and test are what they say
	Weights      []float64 // Discover only: the share of training that each path gets, in any unit; nil: by size
	Pairs        bool      // records are preferences: two answers each, of which one is preferred
	MaxBytes     int64     // GoCorpus only: stop choosing files at about this size; 0 means 16 MB

	// Shows reports whether the template of conversations has a place for a key; see record.Parser.Show.
	Shows func(key string) bool

	// Encoding of files without a byte order mark, by a name of golang.org/x/text. "" is UTF-8; "raw" is UTF-8 too, and
	// takes files whatever their bytes are.
	Encoding string
	Outputs  []fs.FileInfo // Discover only: files and folders that this process writes, which are no data
}

const maxSeparator = 4 << 10 // well under the reader's buffer, in which a separator must fit

type kind uint8

const (
	plain      kind = iota // any text, cut at Options.Separator
	jsonl                  // one JSON object a line: a text or a conversation
	goSource               // plain, without its leading licence comment
	table                  // Parquet, the rows of its "text" column
	jsonValues             // an array of JSON objects, or objects one after the other
	csvTable               // comma- or tab-separated values with a header
)

// isRecords reports whether documents are read from records.
func (k kind) isRecords() bool { return k != plain && k != goSource }

// recordsVersion changes with what is read from records, so that caches of them are made again.
const recordsVersion = 2

// Source is one file of a corpus. As JSON it is an entry of sources.json of a token cache.
type Source struct {
	Path string `json:"path"`
	Size int64  `json:"bytes"`  // bytes on the disk, as found
	Text int64  `json:"-"`      // bytes of text in it; an estimate for a packed file
	Root int    `json:"-"`      // index of the path of Discover that it was found under
	Hash string `json:"sha256"` // hex SHA-256 of the file; "" until Identify has read it
	Held bool   `json:"-"`      // it is named as validation, see Options.Splits

	Encoding string `json:"encoding,omitempty"` // that it is decoded from; "": none

	kind   kind
	pack   pack
	marked bool   // Encoding is that of its byte order mark
	chat   bool   // records that begin with a conversation
	taken  taken  // what the content is taken for, against the name
	unread *Error // says more about why it is left out; nil: the reason says all
}

// MarshalJSON writes a path that is not UTF-8 as a URL has it: file:///tmp/x%FF.
func (s Source) MarshalJSON() ([]byte, error) {
	type source Source
	if !utf8.ValidString(s.Path) {
		s.Path = (&url.URL{Scheme: "file", Path: filepath.ToSlash(s.Path)}).String()
	}
	return json.Marshal(source(s))
}

// Corpus is an ordered list of files and the rules that cut them into documents.
type Corpus struct {
	Sources []Source         // sorted by path, with weights by root and then by path; no file twice
	Skipped map[string]int64 // files and folders that were left out, by kind

	first      map[string][]string // of those, the first few
	why        map[string]*Error   // of Skipped, where there is more to say: the first of each
	decoded    map[string]*decoding
	splits     splits
	guess      string   // the encoding that invalid bytes look like; "": unknown
	roots      []string // paths that were named
	identified bool
	opt        Options
}

// Bytes returns the bytes of text in all sources together, estimated for packed files.
func (c *Corpus) Bytes() int64 {
	var n int64
	for _, s := range c.Sources {
		n += s.Text
	}
	return n
}

// Weights returns the weight of each root, nil if there are none.
func (c *Corpus) Weights() []float64 { return c.opt.Weights }

// Pairs reports whether every document is a preference.
func (c *Corpus) Pairs() bool { return c.opt.Pairs }

// HasChat reports whether a file begins with a conversation: a tokenizer made for it needs tokens for roles.
func (c *Corpus) HasChat() bool {
	return slices.ContainsFunc(c.Sources, func(s Source) bool { return s.chat })
}

// Fingerprint describes everything that decides the documents; after Identify also the content of the files.
func (c *Corpus) Fingerprint() string {
	var b strings.Builder
	fmt.Fprintf(&b, "separator %q\nbad %t\n", c.opt.Separator, c.opt.BadDocuments == "skip")
	if slices.ContainsFunc(c.Sources, func(s Source) bool { return s.kind.isRecords() }) {
		fmt.Fprintf(&b, "records %d %q\n", recordsVersion, c.opt.Fields)
	}
	if c.opt.Pairs {
		b.WriteString("pairs\n")
	}
	for _, s := range c.Sources {
		fmt.Fprintf(&b, "%d %q %d %s\n", s.kind, s.Path, s.Size, s.Hash)
		if s.Encoding != "" {
			fmt.Fprintf(&b, "encoding %s\n", s.Encoding)
		}
	}
	return b.String()
}

// encoding is that of files without a byte order mark, in one spelling; "" for UTF-8.
func (o Options) encoding() string {
	if name := strings.ToLower(strings.TrimSpace(o.Encoding)); name != rawEncoding {
		return name
	}
	return ""
}

// raw reports whether files are taken whatever their bytes are.
func (o Options) raw() bool { return strings.ToLower(strings.TrimSpace(o.Encoding)) == rawEncoding }

func (o Options) check() error {
	if !slices.Contains([]string{"", "stop", "skip"}, o.BadDocuments) {
		return &Error{What: fmt.Sprintf("data.bad_documents is %q", o.BadDocuments), Advice: "use stop or skip"}
	}
	for _, w := range o.Weights {
		if !(w > 0) || math.IsInf(w, 0) {
			return &Error{What: fmt.Sprintf("data.weights has %v", w),
				Advice: "use numbers above 0, and leave out a path that should have no share"}
		}
	}
	if err := sniff.Check(o.encoding()); err != nil {
		return &Error{What: fmt.Sprintf("data.encoding is %q", o.Encoding), Err: err,
			Advice: "use a name such as gbk, shift_jis, windows-1252 or utf-16le, or raw for bytes as they are"}
	}
	if len(o.Separator) > maxSeparator {
		return &Error{What: fmt.Sprintf("data.separator has %d bytes", len(o.Separator)), Advice: "use at most 4096"}
	}
	if _, err := record.ParseFields(o.Fields, o.Pairs); err != nil {
		e := err.(*record.Error)
		return &Error{What: e.What, Advice: e.Advice}
	}
	return nil
}

// fields returns Fields, which were checked.
func (o Options) fields() record.Fields {
	f, _ := record.ParseFields(o.Fields, o.Pairs)
	return f
}

// parser returns a parser of records.
func (o Options) parser() *record.Parser {
	return record.New(o.fields()).Show(o.Shows)
}

// keys are those of records that are read.
func (o Options) keys() []string {
	if o.Shows != nil {
		return o.fields().ShownKeys()
	}
	return o.fields().Keys()
}

// Ref names a document: Sources[Source] of its corpus, and the bytes [Offset, Offset+Length) of the text in that
// file, unpacked if it is packed. In JSONL these are the bytes of the line; in Parquet Offset is the row, from 0, and
// Length the bytes of its text. Length is -1 while a document is streamed.
type Ref struct {
	Source int32
	Offset int64
	Length int64
}

// Place says for a person where a document lies in the file.
func (s *Source) Place(r Ref) string {
	if s.kind == table {
		return fmt.Sprintf("row %d", r.Offset)
	}
	where := fmt.Sprintf("bytes %d to %d", r.Offset, r.Offset+r.Length)
	if r.Length < 0 {
		where = fmt.Sprintf("byte %d", r.Offset)
	}
	switch {
	case s.Encoding != "":
		where += " of the text in UTF-8"
	case s.pack != 0:
		where += " of the unpacked text"
	}
	return where
}

// HasPlaces reports whether the offset of a document counts the bytes of the file, and HasTextPlaces whether the bytes
// of its text follow there, as they are.
func (s *Source) HasPlaces() bool     { return s.kind != table && s.Encoding == "" && s.pack == 0 }
func (s *Source) HasTextPlaces() bool { return s.HasPlaces() && !s.kind.isRecords() }

// Document is one text, one conversation or two answers of which one is preferred. It can be read once, until the next
// one is asked for.
type Document struct {
	Ref  Ref
	Text io.Reader      // ends with io.EOF; other errors are *Error or the context's; nil for a conversation
	Chat []chat.Message // nil for a text
	More []byte         // what a conversation has besides; see chat.Conversation

	Rejected []chat.Message // beside Chat, which is preferred; nil: there is no other
	Shared   int            // messages with which both begin: the prompt
}
