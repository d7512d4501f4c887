package corpus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"gimbal/internal/record"
	"gimbal/internal/strictjson"
)

// Why files that hold data are neither text nor records.
const (
	reasonNoKeys   = "JSON without known keys"
	reasonNoTable  = "table without known columns"
	reasonNested   = "JSON with its records inside an object"
	reasonNotebook = "notebook"
	reasonNoObject = "JSON array that holds no objects"
	reasonLong     = "JSON value of more than 64 MiB"
)

// adviceOf says how to use what is left out for a reason.
var adviceOf = map[string]string{
	reasonNoKeys:   "name what to read with data.fields",
	reasonNoTable:  "name what to read with data.fields",
	reasonNested:   "write the array alone to a file",
	reasonNotebook: `convert it with "jupyter nbconvert --to markdown"`,
	reasonNoObject: `write objects such as {"text": "…"}`,
	reasonLong:     "write its records as lines of .jsonl",
}

// taken is what a file is taken for by its content, where its name would say something else.
type taken uint8

const (
	asNamed taken = iota
	asRecords
	asText // JSON without records
)

// recordFindings tells what files with records, or with JSON, were taken for.
func (c *Corpus) recordFindings() (f []Finding) {
	isRecords := func(s Source) bool { return s.kind.isRecords() }
	if c.opt.Fields != nil && !slices.ContainsFunc(c.Sources, isRecords) {
		f = append(f, Finding{Text: "data.fields names keys of records, and no file has records", Warn: true,
			Advice: "remove the setting, or name the files that have them"})
	}
	for _, as := range []taken{asRecords, asText} {
		what, n, first := "as records by their content", 0, ""
		if as == asText {
			what = "as text: the JSON has no records"
		}
		for _, s := range c.Sources {
			if s.taken == as {
				if n++; n == 1 {
					first = s.Path
				}
			}
		}
		if n > 0 {
			f = append(f, Finding{Text: fmt.Sprintf("read %s: %d, the first is %q", what, n, first)})
		}
	}
	slices.SortFunc(f, func(a, b Finding) int { return strings.Compare(a.Text, b.Text) })
	for _, reason := range slices.Sorted(maps.Keys(c.why)) {
		e := c.why[reason]
		told := Finding{Text: fmt.Sprintf("left out (%s): %d, the first is %q", reason, c.Skipped[reason], e.Path),
			Advice: e.Advice, Warn: true}
		if e.What != reason {
			told.Text += ": " + e.What
		}
		f = append(f, told)
	}
	return f
}

// firstRecords is how many records must look right where the name of a file does not say that it has any.
const firstRecords = 8

// recognise finds out whether a text is made of records, and of which kind. It sets the kind and whether the first
// record is a conversation, or says why the file is left out. A text that is made of no records stays as it is.
func (s *Source) recognise(br *bufio.Reader, opt Options) (reason string, err error) {
	name, _ := cutPack(strings.ToLower(s.Path))
	ext := filepath.Ext(name)
	if head, _ := br.Peek(3); bytes.Equal(head, []byte("\xEF\xBB\xBF")) {
		br.Discard(3)
	}
	l := look{Source: s, fields: opt.fields(), p: opt.parser(), br: br, named: ext == ".json" || s.kind == jsonl}
	most := int64(sniffPacked)
	if l.named {
		most = record.MaxBytes
	}
	l.v = record.NewValues(br, most)
	c, err := l.v.Peek()
	if err == io.EOF { // an empty text
		return "", nil
	} else if err != nil {
		return "", err
	}
	before := s.kind
	switch {
	case s.kind == jsonl && c != '[':
		s.chat, err = beginsWithChat(br, l.p)
	case c == '{' && ext == ".ipynb":
		reason = reasonNotebook
	case c == '{' || c == '[':
		reason, err = l.json(c == '[')
	case ext == ".csv" || ext == ".tsv" || ext == ".tab":
		reason, err = l.table(true)
	case ext == ".txt" || ext == "":
		reason, err = l.table(false)
	}
	switch {
	case reason != "" && s.unread == nil:
		s.unread = &Error{Path: s.Path, What: reason, Advice: adviceOf[reason]}
	case s.kind != before:
		s.taken = asRecords
	case ext == ".json" || l.isJSON:
		s.taken = asText
	}
	return reason, err
}

// look looks at the first records of a source.
type look struct {
	*Source
	fields record.Fields
	br     *bufio.Reader
	v      *record.Values
	p      *record.Parser // nil until it is needed: most texts are no records
	named  bool           // the name says that there are records
	isJSON bool           // the text begins with an object of JSON, or an array of them
}

// json looks at a text that begins with a bracket.
func (l *look) json(array bool) (reason string, err error) {
	first, err := l.v.Next()
	switch {
	case err == record.ErrLong && l.named:
		return reasonLong, nil
	case err == io.EOF || err == record.ErrCutOff || err == record.ErrLong || isFault(err):
		return "", nil // no JSON, or an empty array: a text
	case err != nil:
		return "", err
	}
	lines := !array && bytes.IndexByte(first, '\n') < 0
	if len(first) == 0 || first[0] != '{' {
		if l.named && isJSON(first) {
			return reasonNoObject, nil
		}
		return "", nil
	}
	l.isJSON = isJSON(first)
	known, chat, fault := l.known(first)
	switch {
	case known && (l.named || l.more()):
		if l.kind, l.chat = jsonValues, chat; lines {
			l.kind = jsonl
		}
		return "", nil
	case !l.named || known:
		return "", nil
	case array:
		l.say(fault)
		return reasonNoKeys, nil
	case !l.isJSON:
		return "", nil
	case nestsRecords(l.p, first):
		return reasonNested, nil
	}
	if next, err := l.v.Next(); err == nil && len(next) > 0 && next[0] == '{' {
		l.say(fault)
		return reasonNoKeys, nil
	}
	return "", nil // one object that is no record: a configuration, for example
}

// say keeps what is wrong with the first record.
func (l *look) say(e *record.Error) { l.unread = &Error{Path: l.Path, What: e.What, Advice: e.Advice} }

func isFault(err error) bool { return errors.As(err, new(*record.Error)) }

// known reports whether a record has known keys, however broken it is, and whether it is a conversation.
func (l *look) known(raw []byte) (known, chat bool, fault *record.Error) {
	_, turns, err := l.p.Parse(bytes.Clone(raw))
	fault, _ = err.(*record.Error)
	return l.p.Known, turns != nil || errors.Is(err, record.ErrUncounted), fault
}

// more reports whether the next records are like the first.
func (l *look) more() bool {
	for range firstRecords {
		raw, err := l.v.Next()
		if err == io.EOF || err == record.ErrLong {
			return true
		}
		if err != nil || len(raw) == 0 || raw[0] != '{' {
			return false
		}
		if known, _, _ := l.known(raw); !known {
			return false
		}
	}
	return true
}

// isJSON reports whether a value is JSON.
func isJSON(value []byte) bool {
	r := strictjson.New(value, strictjson.AllowDuplicates, strictjson.AllowInvalidUTF8)
	r.Value()
	return r.End() == nil
}

// nestsRecords reports whether a value of an object is an array that begins with a record.
func nestsRecords(p *record.Parser, object []byte) (nests bool) {
	r := strictjson.New(bytes.Clone(object), strictjson.AllowDuplicates, strictjson.AllowInvalidUTF8)
	r.Object(func([]byte) {
		if r.Kind() != '[' {
			r.Value()
			return
		}
		r.Array(func(i int) {
			if v := r.Value(); i == 0 && len(v) > 0 && v[0] == '{' {
				p.Parse(bytes.Clone(v))
				nests = nests || p.Known
			}
		})
	})
	return nests
}

// table looks at a text whose first line may be the names of columns.
func (l *look) table(named bool) (reason string, err error) {
	t, err := record.NewTable(l.br)
	if isFault(err) || err == io.EOF || err == record.ErrFence || err == nil && len(t.Header) < 2 && !named {
		return "", nil // a text
	}
	if err != nil {
		return "", err
	}
	if l.fields.In(func(key string) bool { return slices.Contains(t.Header, key) }) == nil {
		if named {
			l.say(l.fields.Unknown("columns", t.Header))
			return reasonNoTable, nil
		}
		return "", nil
	}
	rows := 0
	for ; rows < firstRecords && err == nil; rows++ {
		var raw []byte
		if raw, err = t.Next(); err == nil && rows == 0 {
			_, l.chat, _ = l.known(raw)
		}
	}
	switch {
	case named || err == nil || err == io.EOF && rows > 1: // without the name all rows must be right
		l.kind = csvTable
	case err != io.EOF && err != record.ErrFence && !isFault(err):
		return "", err
	}
	return "", nil
}
