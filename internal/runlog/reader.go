package runlog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"unicode/utf8"

	"gimbal/internal/durable"
)

const maxLine = 1 << 24 // bytes

// Log is what Read found.
type Log struct {
	Records []Record // in the order of the file
	Garbled int      // lines that could not be parsed: torn by a crash and ended later, or damaged
	Torn    bool     // the last line is incomplete; perhaps it is being written
	Altered int      // places where lines were altered, removed or put in since they were written; see Chain
}

// Record is one line.
type Record struct {
	Line  int // from 1
	Kind  string
	At    At
	Value any             // Step, Layers, Event, …; nil for a kind that is not known
	Raw   json.RawMessage // the line
}

// Read reads a whole log. It counts and skips lines that cannot be parsed, and keeps records of unknown kinds, so it
// can read the log of a newer program. It may be called while the run is going on.
func Read(fsys durable.FS, path string) (*Log, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("runlog: read %s: %w", path, err)
	}
	l, err := Parse(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("runlog: read %s: %w", path, err)
	}
	return l, nil
}

// Parse is Read for an open file. Memory: at most maxLine besides the records.
func Parse(r io.Reader) (*Log, error) {
	l, number := &Log{}, 0
	sums, err := eachLine(r, func(line []byte, tooLong, last bool) {
		number++
		if text := bytes.TrimSpace(line); len(text) > 0 || tooLong {
			rec, ok := parseRecord(text)
			switch {
			case ok && !tooLong:
				rec.Line = number
				l.Records = append(l.Records, rec)
			case last:
				l.Torn = true
			default:
				l.Garbled++
			}
		}
	})
	if err != nil {
		return nil, err
	}
	l.Altered = sums.Altered()
	return l, nil
}

// eachLine calls take with each line, and whether only its beginning is there, since it is too long, and whether it is
// the last, which has no end. It follows the sums.
func eachLine(r io.Reader, take func(line []byte, tooLong, last bool)) (sums Chain, err error) {
	br := bufio.NewReaderSize(r, 1<<16)
	var line []byte
	for last := false; !last; {
		line = line[:0]
		tooLong := false
		err := bufio.ErrBufferFull
		for errors.Is(err, bufio.ErrBufferFull) {
			var part []byte
			part, err = br.ReadSlice('\n')
			if tooLong = tooLong || len(line)+len(part) > maxLine+1; !tooLong {
				line = append(line, part...)
			}
		}
		if err != nil && err != io.EOF {
			return sums, err
		}
		last = err == io.EOF
		if sums.Take(line); tooLong {
			sums.Skip()
		}
		take(line, tooLong, last)
	}
	return sums, nil
}

// parseRecord reads one line.
func parseRecord(line []byte) (rec Record, ok bool) {
	if line = bytes.TrimSpace(line); len(line) == 0 || line[0] != '{' || !utf8.Valid(line) {
		return rec, false
	}
	var head struct {
		Kind string `json:"kind"`
		At
	}
	if json.Unmarshal(line, &head) != nil || head.Kind == "" {
		return rec, false
	}
	rec = Record{Kind: head.Kind, At: head.At, Raw: bytes.Clone(line)}
	if t, known := types[head.Kind]; known {
		v := reflect.New(t)
		if json.Unmarshal(line, v.Interface()) != nil {
			return rec, false
		}
		rec.Value = v.Elem().Interface()
	}
	return rec, true
}

// All returns the records of one type in the order of the file, as in All[Step](l).
func All[T any](l *Log) (all []T) {
	for _, r := range l.Records {
		if v, ok := r.Value.(T); ok {
			all = append(all, v)
		}
	}
	return all
}
