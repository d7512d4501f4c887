package corpus

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gimbal/internal/chat"
	"gimbal/internal/record"
)

// conversation counts the answers of a conversation, or of both of a preference, and the keys of its messages that are
// not used.
func (t *Tally) conversation(turns, rejected []chat.Message, ignored []string) {
	if turns == nil {
		return
	}
	t.Chats++
	n, empty := answers(turns)
	t.Answers, t.Empty = t.Answers+n, t.Empty+empty
	_, empty = answers(rejected)
	t.NoRejected += empty
	for _, name := range ignored {
		if t.Ignored == nil {
			t.Ignored = map[string]int64{}
		}
		name = record.CutName(name)
		if _, known := t.Ignored[name]; !known && len(t.Ignored) >= maxReasons {
			name = "other keys"
		}
		t.Ignored[name]++
	}
}

// answers counts those that count, and those of them without a word.
func answers(turns []chat.Message) (n, empty int64) {
	for _, m := range turns {
		if m.Learn {
			n++
			if len(bytes.TrimSpace(m.Text)) == 0 && m.More == nil { // else it may call a tool
				empty++
			}
		}
	}
	return n, empty
}

// many is the share, of records or of answers, from which a fault of them changes what is learned.
const many = 0.01

// Findings returns what is to be told of the records that were read; documents is how many were kept.
func (t *Tally) Findings(documents int64) (f []Finding) {
	tell := func(n, of int64, advice, format string, args ...any) {
		if n > 0 {
			f = append(f, Finding{Text: fmt.Sprintf(format, args...), Advice: advice, Warn: float64(n) > many*float64(of)})
		}
	}
	tell(t.Nulls, t.Nulls+documents, "", "%d of %d records were skipped: their text is null", t.Nulls, t.Nulls+documents)
	tell(t.Uncounted, t.Uncounted+t.Chats, "", "%d of %d conversations were skipped: nothing in them counts",
		t.Uncounted, t.Uncounted+t.Chats)
	tell(t.Same, t.Same+documents/2, "", "%d of %d preferences were skipped: chosen and rejected are the same", t.Same,
		t.Same+documents/2)
	tell(t.Empty, t.Answers, "the model learns to say nothing: remove these conversations",
		"%d of %d answers are empty", t.Empty, t.Answers)
	tell(t.NoRejected, t.Chats, "the model learns only to say something: look whether the records hold these answers",
		"%d rejected answers of %d pairs are empty", t.NoRejected, t.Chats)
	if t.Left > 0 {
		f = append(f,
			Finding{Text: fmt.Sprintf("%d of %d answers are not learned: the model's chat template writes them "+
				"in another way once the conversation goes on, as where it leaves earlier thoughts "+
				"out", t.Left, t.Answers),
				Advice: "the last answer of each conversation is learned; cut conversations behind each answer to " +
					"learn all"})
	}
	tell(t.Seams, t.Answers, "take the white space at their beginning away", "%d of %d answers begin within a token that "+
		"also ends what asks for them: in a chat they cannot be written so", t.Seams, t.Answers)
	tell(t.Lost, t.Chats, "say it in a message of the user, or set data.template = \"builtin\"", "the model's chat template "+
		"leaves out %d messages in %d conversations, such as those of the system", t.Lost, t.Chats)
	if len(t.Ignored) > 0 {
		f = append(f, Finding{Text: "keys of messages that are not used: " + t.IgnoredText()})
	}
	return f
}

// IgnoredText lists Ignored, the most frequent first.
func (t *Tally) IgnoredText() string {
	names := slices.SortedFunc(maps.Keys(t.Ignored), func(a, b string) int {
		return cmp.Or(cmp.Compare(t.Ignored[b], t.Ignored[a]), strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%q (%d times)", name, t.Ignored[name])
	}
	return strings.Join(names, ", ")
}
