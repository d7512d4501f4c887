package runlog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"gimbal/internal/durable"
)

const maxLine = 1 << 24 // bytes

// Log is what Read found.
type Log struct {
	Records []Record // in the order of the file
	Garbled int      // lines that are no records: torn by a crash and ended later, or damaged
	Torn    bool     // the last line is incomplete; perhaps it is being written
}

// Record is one line.
type Record struct {
	Line  int // from 1
	Kind  string
	At    At
	Value any             // Step, Layers, Event, Eval, Start, Resume, End or Plan; nil for another kind
	Raw   json.RawMessage // the line
}

// Read reads a whole log. Lines that are no records are counted and skipped, and records of unknown kinds are kept as
// they are, so a log of a newer program can be read. It may be called while the run goes on.
func Read(fsys durable.FS, path string) (l *Log, err error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("runlog: read %s: %w", path, err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			l, err = nil, fmt.Errorf("runlog: read %s: %w", path, cerr)
		}
	}()
	if l, err = parse(f); err != nil {
		return nil, fmt.Errorf("runlog: read %s: %w", path, err)
	}
	return l, nil
}

// parse reads lines to the end. Memory: at most maxLine besides the records.
func parse(r io.Reader) (*Log, error) {
	l := &Log{}
	br := bufio.NewReaderSize(r, 1<<16)
	var line []byte
	for number := 1; ; number++ {
		line = line[:0]
		tooLong := false
		var err error
		for {
			var part []byte
			part, err = br.ReadSlice('\n')
			if len(line)+len(part) > maxLine+1 {
				tooLong = true
			} else {
				line = append(line, part...)
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				break
			}
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		last := err == io.EOF
		text := bytes.TrimSpace(line)
		if len(text) > 0 || tooLong {
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
		if last {
			return l, nil
		}
	}
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
	var err error
	switch head.Kind {
	case "step":
		rec.Value, err = decode[Step](line)
	case "refused":
		rec.Value, err = decode[Refused](line)
	case "rewind":
		rec.Value, err = decode[Rewind](line)
	case "layers":
		rec.Value, err = decode[Layers](line)
	case "event":
		rec.Value, err = decode[Event](line)
	case "eval":
		rec.Value, err = decode[Eval](line)
	case "start":
		rec.Value, err = decode[Start](line)
	case "resume":
		rec.Value, err = decode[Resume](line)
	case "end":
		rec.Value, err = decode[End](line)
	case "plan":
		rec.Value, err = decode[Plan](line)
	case "probe":
		rec.Value, err = decode[Probe](line)
	case "preflight":
		rec.Value, err = decode[Preflight](line)
	}
	return rec, err == nil
}

func decode[T any](line []byte) (T, error) {
	var v T
	err := json.Unmarshal(line, &v)
	return v, err
}

// All returns the records of one type in the order of the file, as in All[Step](l).
func All[T any](l *Log) []T {
	var all []T
	for _, r := range l.Records {
		if v, ok := r.Value.(T); ok {
			all = append(all, v)
		}
	}
	return all
}
