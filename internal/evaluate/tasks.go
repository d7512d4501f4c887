package evaluate

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"gimbal/internal/data"
)

// Task is questions with known answers. Their prompts, and what is measured, are those of lm-evaluation-harness for
// files of the same fields, see [item].
type Task struct {
	Name  string // letters, digits, and ._-
	Path  string
	Items []Item
	Shots int // examples before each question

	patterns []pattern // of a task that is answered in words
}

// Item is a question.
type Item struct {
	Context string
	Choices []string // one of which is right; none: the answer is written
	Gold    int      // which one
	Answer  string   // what should be written

	delimiter string // between context and answer
}

// TaskOptions say how a task is read.
type TaskOptions struct {
	Shots     int    // examples before each question: the first ones of a file that do not give its answer away
	ShotsFrom string // the file; empty: that of the task
	Limit     int    // most questions, from the first; 0: all
	Pattern   string // a regular expression that finds the answer in what is written; empty: by the kind of answers
}

// pattern finds the answer in what a model wrote.
type pattern struct {
	metric string
	find   *regexp.Regexp // nil: it is the answer
	last   bool           // of the places that are found; else the first
}

// Limits of the file of a task.
const (
	taskBytes   = 256 << 20
	taskChoices = 64
)

// TasksDir is the folder in which a task that is named by no path is looked for.
func TasksDir() string {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "gimbal", "tasks")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "share", "gimbal", "tasks")
}

// OpenTask reads a task from a file of JSON lines, or from NAME.jsonl in TasksDir. It fails with an error that names
// file and line and matches data.ErrUnusable.
func OpenTask(name string, opt TaskOptions) (*Task, error) {
	path := name
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(TasksDir(), strings.TrimSuffix(filepath.Base(name), ".jsonl")+".jsonl")
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("%w: there is neither a file %s nor %s", data.ErrUnusable, name, path)
		}
	}
	t := &Task{Name: strings.Map(safe, strings.TrimSuffix(filepath.Base(path), ".jsonl")), Path: path, Shots: opt.Shots}
	if opt.Shots < 0 || opt.Limit < 0 {
		return nil, fmt.Errorf("%w: %d examples before each of %d questions: numbers from 0 up", data.ErrUnusable,
			opt.Shots, opt.Limit)
	}
	need := opt.Limit
	if opt.Shots > 0 { // of which some may be the question
		need = 0
	}
	items, err := readItems(path, need)
	if err != nil {
		return nil, err
	}
	from := items
	if opt.ShotsFrom != "" && opt.Shots > 0 {
		if from, err = readItems(opt.ShotsFrom, 0); err != nil {
			return nil, err
		}
	}
	if opt.Limit > 0 {
		items = items[:min(opt.Limit, len(items))]
	}
	if err := t.find(items, opt.Pattern); err != nil {
		return nil, err
	}
	for _, item := range items {
		var shots strings.Builder
		for k, n := 0, 0; n < opt.Shots; k++ {
			if k == len(from) {
				return nil, fmt.Errorf("%w: %s has %d examples of the %d that are to come before a question",
					data.ErrUnusable, cmp.Or(opt.ShotsFrom, path), n, opt.Shots)
			}
			if !from[k].tells(item) {
				shots.WriteString(from[k].Context + from[k].delimiter + from[k].right() + "\n\n")
				n++
			}
		}
		item.Context = shots.String() + item.Context
		t.Items = append(t.Items, item)
	}
	return t, nil
}

// safe leaves the characters that a name of a metric may have.
func safe(r rune) rune {
	if r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-", r)) {
		return r
	}
	return '-'
}

// tells reports whether an example is the question itself, or a copy of it, and gives the answer away.
func (i *Item) tells(question Item) bool {
	return i.Context == question.Context && i.right() == question.right()
}

// right is the right answer.
func (i *Item) right() string {
	if i.Choices != nil {
		return i.Choices[i.Gold]
	}
	return i.Answer
}

// find chooses the patterns by which written answers are found. Those of gsm8k end with "#### NUMBER".
func (t *Task) find(items []Item, own string) error {
	if items[0].Choices != nil {
		if own != "" {
			return fmt.Errorf("%w: %s has choices: no pattern finds an answer", data.ErrUnusable, t.Path)
		}
		return nil
	}
	gsm8k := strings.Contains(items[0].Answer, "#### ")
	switch {
	case own != "":
		find, err := regexp.Compile(own)
		if err != nil {
			return fmt.Errorf("%w: the pattern of an answer: %w", data.ErrUnusable, err)
		}
		t.patterns = []pattern{{metric: "exact_match", find: find}}
	case gsm8k:
		t.patterns = []pattern{{metric: "exact_match", find: regexp.MustCompile(`#### (\-?[0-9\.\,]+)`)},
			{metric: "flexible", find: regexp.MustCompile(`(-?[$0-9.,]{2,})|(-?[0-9]+)`), last: true}}
	default:
		t.patterns = []pattern{{metric: "exact_match"}}
	}
	return nil
}

// invalid is the answer where a pattern finds none.
const invalid = "[invalid]"

// extract finds the answer in what was written.
func (p *pattern) extract(text string) string {
	if p.find == nil {
		return strings.TrimSpace(text)
	}
	all := p.find.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return invalid
	}
	found := all[0]
	if p.last {
		found = all[len(all)-1]
	}
	if len(found) == 1 {
		return strings.TrimSpace(found[0])
	}
	for _, group := range found[1:] {
		if group != "" {
			return strings.TrimSpace(group)
		}
	}
	return invalid
}

// ignored is taken out of answers, one after the other.
var ignored = []*regexp.Regexp{regexp.MustCompile(`,`), regexp.MustCompile(`\$`), regexp.MustCompile(`(?s).*#### `),
	regexp.MustCompile(`\.$`)}

// matches reports whether an answer is the right one: without what numbers may have or not, and whatever their case.
func matches(answer, right string) bool {
	clean := func(s string) string {
		for _, r := range ignored {
			s = r.ReplaceAllString(s, "")
		}
		return strings.ToLower(strings.TrimSpace(s))
	}
	return clean(answer) == clean(right)
}
