package durable

import (
	"cmp"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a file of lines.
const (
	mostLines = 1000
	lineBytes = 1 << 12 // of one; a longer one is not kept
)

// Lines are the last lines that were added to a file that only the user may read. Its methods are those of the history
// of a line editor. Not safe for concurrent use; several processes may add to one file.
type Lines struct {
	f    *os.File
	list []string // the oldest first
}

// OpenLines opens a file of lines, or makes it and its folder. It refuses links with ErrLink. What is no line of text
// is left out.
func OpenLines(name string) (_ *Lines, err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	l := new(Lines)
	if l.f, err = openOwn(name, os.O_RDWR|os.O_CREATE|os.O_APPEND); err != nil {
		return nil, err
	}
	const most = mostLines * (lineBytes + 1)
	info, err := l.f.Stat()
	size := int64(0)
	if err == nil {
		size = info.Size()
		err = l.f.Chmod(0o600)
	}
	raw, rerr := io.ReadAll(io.NewSectionReader(l.f, max(0, size-most), most))
	if err = cmp.Or(err, rerr); err != nil {
		return nil, errors.Join(err, l.f.Close())
	}
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSuffix(line, "\n"); isLine(line) {
			l.list = append(l.list, line)
		}
	}
	if n := len(l.list) - mostLines; n > 0 || size > most {
		l.list = slices.Clone(l.list[max(0, n):])
		if err = l.f.Truncate(0); err == nil && len(l.list) > 0 {
			_, err = l.f.WriteString(strings.Join(l.list, "\n") + "\n")
		}
	}
	if err != nil {
		return nil, errors.Join(err, l.f.Close())
	}
	return l, nil
}

// isLine reports whether a text is a line as somebody types it: nothing that a terminal obeys.
func isLine(text string) bool {
	return text != "" && len(text) <= lineBytes && utf8.ValidString(text) &&
		!strings.ContainsFunc(text, unicode.IsControl)
}

// Add adds a line, unless it is the newest already. A disk that fails costs only the line.
func (l *Lines) Add(line string) {
	if !isLine(line) || len(l.list) > 0 && l.list[len(l.list)-1] == line {
		return
	}
	l.list = append(l.list, line)
	_, _ = l.f.WriteString(line + "\n")
}

// Len is the number of lines.
func (l *Lines) Len() int { return len(l.list) }

// At returns a line; 0 is the newest. Panics if there is none.
func (l *Lines) At(i int) string { return l.list[len(l.list)-1-i] }

// Close closes the file.
func (l *Lines) Close() error { return l.f.Close() }

// StateDir is the folder of what a user's programs remember between starts.
func StateDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "gimbal"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".local", "state", "gimbal"), nil
}
