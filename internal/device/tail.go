package device

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// tail keeps the end of what a process printed. Safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const (
	tailBytes = 32 << 10
	tailLines = 6
)

var crash = regexp.MustCompile(`^(SIG[A-Z]+: |panic: |fatal error: |\*\*\* Check failure stack trace)`)

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if n := len(t.text); n > 2*tailBytes {
		t.text = append(t.text[:0], t.text[n-tailBytes:]...)
	}
	return len(p), nil
}

// String is the last lines, as the end of a sentence.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for l := range strings.Lines(string(t.text)) {
		if l = strings.TrimSpace(l); l != "" {
			lines = append(lines, clean(l))
		}
		if crash.MatchString(l) { // stacks and registers follow
			break
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return "; it printed last: " + strings.Join(lines[max(0, len(lines)-tailLines):], " | ")
}

// clean makes a text of a plugin fit for a line on a terminal.
func clean(s string) string {
	const most = 2000
	if len(s) > most {
		s = s[:most] + " …"
	}
	quoted := strconv.QuoteToGraphic(strings.TrimSpace(s))
	return strings.NewReplacer(`\n`, " | ", `\"`, `"`, `\\`, `\`).Replace(quoted[1 : len(quoted)-1])
}
