package screen

import (
	"fmt"
	"strings"
	"testing"
)

// What others wrote acts on no terminal, also where a command forgets to escape it.
func TestNothingOfOthersActs(t *testing.T) {
	const hostile = "a\x1b[2Jb\rc\u009bd\u202ee\x1b[31mf\x1b]0;title\x07"
	var b strings.Builder
	out := newSink(&b)
	fmt.Fprint(out, hostile, "\n")
	s := newScreen(out)
	s.say(hostile, "")
	s.live, s.colour = true, true
	s.say(s.paint(red, "alarm")+hostile, "live "+hostile)
	text := strings.NewReplacer("\x1b[31malarm\x1b[0m", "", "\x1b[31mf", "").Replace(b.String())
	if strings.ContainsAny(text, "\x1b\r\u009b\u202e\x07") || !strings.Contains(b.String(), "\x1b[31malarm\x1b[0m") {
		t.Errorf("%q", b.String())
	}
}
