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

// recognised are the files that were recognised by their content, or left out for one reason.
type recognised struct {
	files int64
	first string // path
	what  *Error // says more about the first; nil: the reason says all
}

// What files are taken for, as keys of Corpus.records beside the reasons.
const (
	asRecords = "records"
	asText    = "text"
)

// recognise looks at a file that may hold records, and remembers what it was taken for.
func (d *discovery) recognise(s *Source, br *bufio.Reader) (reason string, err error) {
	before := s.kind
	reason, what, err := s.recognise(br, d.c.opt.fields())
	key := reason
	d.fault = nil
	switch {
	case err != nil:
		return "", err
	case reason != "":
	case s.kind != before:
		key = asRecords
	case s.kind == plain && strings.Contains(strings.ToLower(filepath.Base(s.Path)), ".json"):
		key = asText
	default:
		return "", nil
	}
	if d.c.records == nil {
		d.c.records = map[string]*recognised{}
	}
	r := d.c.records[key]
	if r == nil {
		r = &recognised{first: s.Path, what: what}
		d.c.records[key] = r
	}
	if r.files++; reason != "" {
		d.fault = (&recognised{first: s.Path, what: what}).fault(reason)
	}
	return reason, nil
}

// fault is the error of a file that is left out although it was named.
func (r *recognised) fault(reason string) *Error {
	if r.what != nil {
		return &Error{Path: r.first, What: r.what.What, Advice: r.what.Advice}
	}
	return &Error{Path: r.first, What: reason, Advice: adviceOf[reason]}
}

// recordFindings tells what files with records, or with JSON, were taken for.
func (c *Corpus) recordFindings() (f []Finding) {
	if c.opt.Fields != nil && !slices.ContainsFunc(c.Sources, func(s Source) bool { return s.kind.isRecords() }) {
		f = append(f, Finding{Text: "data.fields names keys of records, and no file has records", Warn: true,
			Advice: "remove the setting, or name the files that have them"})
	}
	for _, key := range slices.Sorted(maps.Keys(c.records)) {
		r := c.records[key]
		files := "1 file is"
		if r.files != 1 {
			files = fmt.Sprintf("%d files are", r.files)
		}
		switch key {
		case asRecords:
			f = append(f, Finding{Text: fmt.Sprintf("%s read as records by their content, not as text, the first is %q", files, r.first)})
		case asText:
			f = append(f, Finding{Text: fmt.Sprintf("%s read as text, because there are no records in the JSON, the first is %q", files,
				r.first)})
		default:
			fault := r.fault(key)
			f = append(f, Finding{Text: fmt.Sprintf("%s left out, the first is %q: %s", files, r.first, fault.What),
				Advice: fault.Advice, Warn: true})
		}
	}
	return f
}

// firstRecords is how many records must look right where the name of a file does not say that it has any.
const firstRecords = 8

// recognise finds out whether a text is made of records, and of which kind. It sets the kind and whether the first
// record is a conversation, or says why the file is left out; what says more about the first fault. A text that is
// made of no records stays as it is.
func (s *Source) recognise(br *bufio.Reader, fields Fields) (reason string, what *Error, err error) {
	name, _ := cutPack(strings.ToLower(s.Path))
	ext := filepath.Ext(name)
	if head, _ := br.Peek(3); bytes.Equal(head, []byte("\xEF\xBB\xBF")) {
		br.Discard(3)
	}
	l := look{Source: s, v: &valueReader{br: br, most: sniffPacked}, p: newRecordParser(fields)}
	if l.named = ext == ".json" || s.kind == jsonl; l.named {
		l.v.most = maxLine
	}
	c, err := l.v.peek()
	if err != nil && err != io.EOF {
		return "", nil, err
	}
	switch {
	case s.kind == jsonl && c != '[':
		s.chat, err = beginsWithChat(br, fields)
		return "", nil, err
	case c == '{' && ext == ".ipynb":
		return reasonNotebook, nil, nil
	case c == '{' || c == '[':
		reason, what, err = l.json(c == '[')
	case ext == ".csv" || ext == ".tsv" || ext == ".tab":
		reason, what, err = l.table(true)
	case ext == ".txt" || ext == "":
		reason, what, err = l.table(false)
	}
	return reason, what, err
}

// look looks at the first records of a source.
type look struct {
	*Source
	v     *valueReader
	p     *recordParser
	named bool // the name says that there are records
}

// json looks at a text that begins with a bracket.
func (l *look) json(array bool) (reason string, what *Error, err error) {
	first, err := l.v.next()
	switch {
	case err == errLong && l.named:
		return reasonLong, nil, nil
	case err == io.EOF || err == errCutOff || err == errLong || errors.As(err, new(*Error)):
		return "", nil, nil // no JSON, or an empty array: a text
	case err != nil:
		return "", nil, err
	}
	lines := !array && bytes.IndexByte(first, '\n') < 0 && l.v.line == l.v.began
	if first[0] != '{' {
		if l.named && isJSON(first) {
			return reasonNoObject, nil, nil
		}
		return "", nil, nil
	}
	known, chat, fault := l.known(first)
	switch {
	case known && (l.named || l.more()):
		if l.kind, l.chat = jsonValues, chat; lines {
			l.kind = jsonl
		}
		return "", nil, nil
	case !l.named || known:
		return "", nil, nil
	case array:
		return reasonNoKeys, fault, nil
	case !isJSON(first):
		return "", nil, nil
	case nestsRecords(l.p, first):
		return reasonNested, nil, nil
	}
	if next, err := l.v.next(); err == nil && next[0] == '{' {
		return reasonNoKeys, fault, nil
	}
	return "", nil, nil // one object that is no record: a configuration, for example
}

// known reports whether a record has known keys, however broken it is, and whether it is a conversation.
func (l *look) known(record []byte) (known, chat bool, fault *Error) {
	_, turns, err := l.p.parse(bytes.Clone(record))
	fault, _ = err.(*Error)
	return fault == nil || l.p.known, turns != nil || err == errUncounted, fault
}

// more reports whether the next records are like the first.
func (l *look) more() bool {
	for range firstRecords {
		record, err := l.v.next()
		if err == io.EOF || err == errLong {
			return true
		}
		if err != nil || record[0] != '{' {
			return false
		}
		if known, _, _ := l.known(record); !known {
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
func nestsRecords(p *recordParser, object []byte) (nests bool) {
	r := strictjson.New(bytes.Clone(object), strictjson.AllowDuplicates, strictjson.AllowInvalidUTF8)
	r.Object(func([]byte) {
		if r.Kind() != '[' {
			r.Value()
			return
		}
		r.Array(func(i int) {
			if v := r.Value(); i == 0 && len(v) > 0 && v[0] == '{' {
				_, _, err := p.parse(bytes.Clone(v))
				nests = nests || p.known || err == nil
			}
		})
	})
	return nests
}

// table looks at a text whose first line may be the names of columns.
func (l *look) table(named bool) (reason string, what *Error, err error) {
	t, err := newTableReader(l.v.br)
	if err == nil && len(t.header) < 2 && !named {
		return "", nil, nil // a line of text
	}
	var header []string
	if t != nil {
		header = t.header
	}
	known := 0
	for err == nil && known < firstRecords {
		var record []byte
		if record, err = t.next(); err != nil {
			break
		}
		ok, chat, fault := l.known(record)
		if !ok {
			if what = fault; what != nil {
				what = l.p.fields.unknown("columns", header)
			}
			break
		}
		if known == 0 {
			l.chat = chat
		}
		known++
	}
	var broken *Error
	switch {
	case err != nil && err != io.EOF && err != errFence && !errors.As(err, &broken):
		return "", nil, err
	case known > 0 && (named || what == nil && broken == nil):
		l.kind = csvTable
	case named && header != nil && known == 0:
		if what == nil {
			what = l.p.fields.unknown("columns", header)
		}
		return reasonNoTable, what, nil
	}
	return "", nil, nil
}
