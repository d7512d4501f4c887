package evaluate

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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
	Shots     int    // examples before each question: the first ones of a file that are not the question itself
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
	need := 0
	if opt.Limit > 0 {
		need = max(opt.Limit, opt.Shots+1)
	}
	items, err := readItems(path, need)
	if err != nil {
		return nil, err
	}
	from := items
	if opt.ShotsFrom != "" {
		if from, err = readItems(opt.ShotsFrom, opt.Shots); err != nil {
			return nil, err
		}
	}
	if opt.Limit > 0 {
		items = items[:min(opt.Limit, len(items))]
	}
	if err := t.find(items, opt.Pattern); err != nil {
		return nil, err
	}
	for i, item := range items {
		var shots strings.Builder
		for k, n := 0, 0; n < opt.Shots; k++ {
			if k == len(from) {
				return nil, fmt.Errorf("%w: %s has %d examples of the %d that are to come before a question",
					data.ErrUnusable, cmp.Or(opt.ShotsFrom, path), n, opt.Shots)
			}
			if opt.ShotsFrom != "" || k != i {
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

// right is the right answer.
func (i *Item) right() string {
	if i.Choices != nil {
		return i.Choices[i.Gold]
	}
	return i.Answer
}

// readItems reads the first items of a file; most 0: all.
func readItems(path string, most int) (items []Item, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", data.ErrUnusable, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > taskBytes {
		return nil, fmt.Errorf("%w: %s is no file of at most %d MiB", data.ErrUnusable, path, taskBytes>>20)
	}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for n := 1; lines.Scan() && (most == 0 || len(items) < most); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		i, err := readItem(line)
		if err == nil && len(items) > 0 && (i.Choices == nil) != (items[0].Choices == nil) {
			err = errors.New("it is of another kind than those before it")
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s, line %d: %w", data.ErrUnusable, path, n, err)
		}
		items = append(items, i)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", data.ErrUnusable, path, err)
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("%w: %s has no questions", data.ErrUnusable, path)
	}
	return items, nil
}

// item has the fields of all layouts: HellaSwag, PIQA, ARC as AI2 and as Hugging Face write it, questions that are
// answered in words, and a plain one.
type item struct {
	Activity string          `json:"activity_label"` // HellaSwag
	ContextA *string         `json:"ctx_a"`
	ContextB string          `json:"ctx_b"`
	Endings  []string        `json:"endings"`
	Goal     *string         `json:"goal"` // PIQA
	Sol1     string          `json:"sol1"`
	Sol2     string          `json:"sol2"`
	Label    json.RawMessage `json:"label"`
	Question json.RawMessage `json:"question"` // ARC, or answered in words
	Choices  json.RawMessage `json:"choices"`
	Key      string          `json:"answerKey"`
	Answer   json.RawMessage `json:"answer"`
	Context  *string         `json:"context"` // plain: with choices and label
}

// arcChoices are the choices of ARC, by columns as Hugging Face writes them.
type arcChoices struct {
	Text  []string `json:"text"`
	Label []string `json:"label"`
}

// arcQuestion is a question of ARC as AI2 writes it.
type arcQuestion struct {
	Stem    string `json:"stem"`
	Choices []struct{ Text, Label string }
}

func readItem(line []byte) (i Item, err error) {
	var raw item
	if err := json.Unmarshal(line, &raw); err != nil {
		return i, fmt.Errorf("no JSON of a question: %w", err)
	}
	i.delimiter = " "
	var question string
	inWords := json.Unmarshal(raw.Question, &question) == nil
	switch {
	case raw.ContextA != nil && raw.Endings != nil:
		i.Context = hellaSwag(raw.Activity + ": " + *raw.ContextA + " " + capital(raw.ContextB))
		for _, e := range raw.Endings {
			i.Choices = append(i.Choices, hellaSwag(e))
		}
		i.Gold, err = label(raw.Label)
	case raw.Goal != nil:
		i.Context, i.Choices = asked(*raw.Goal), []string{raw.Sol1, raw.Sol2}
		i.Gold, err = label(raw.Label)
	case raw.Context != nil && raw.Choices != nil:
		i.Context = *raw.Context
		if err = json.Unmarshal(raw.Choices, &i.Choices); err == nil {
			i.Gold, err = label(raw.Label)
		}
	case raw.Question != nil && raw.Key != "":
		var c arcChoices
		var q arcQuestion
		if inWords {
			err = json.Unmarshal(raw.Choices, &c)
		} else if err = json.Unmarshal(raw.Question, &q); err == nil {
			question = q.Stem
			for _, choice := range q.Choices {
				c.Text, c.Label = append(c.Text, choice.Text), append(c.Label, choice.Label)
			}
		}
		if len(c.Text) != len(c.Label) {
			err = errors.New("there are not as many labels as choices")
		}
		i.Context, i.Choices, i.Gold = asked(question), c.Text, slices.Index(c.Label, raw.Key)
	case inWords && raw.Answer != nil && raw.Choices == nil:
		if i.Context = asked(question); json.Unmarshal(raw.Answer, &i.Answer) != nil {
			i.Answer = string(raw.Answer) // a number
		}
		return i, nil
	default:
		err = unknown(line)
	}
	switch n := len(i.Choices); {
	case err != nil:
	case n < 2 || n > taskChoices || slices.Contains(i.Choices, ""):
		err = fmt.Errorf("it has %d choices, or an empty one", n)
	case i.Gold < 0 || i.Gold >= n:
		err = fmt.Errorf("the right answer is none of the %d choices", n)
	}
	return i, err
}

// unknown says what a question has, and what it may have.
func unknown(line []byte) error {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(line, &fields) // it was read before
	names := slices.Sorted(maps.Keys(fields))
	return fmt.Errorf("its fields are %.200q; a question has context, choices, label; or question, answer; or "+
		"those of HellaSwag (ctx_a, ctx_b, endings, label), PIQA (goal, sol1, sol2, label) or ARC (question, choices, "+
		"answerKey)",
		strings.Join(names, ", "))
}

// asked is the prompt of a question.
func asked(question string) string { return "Question: " + question + "\nAnswer:" }

// label reads a number, or its digits.
func label(raw json.RawMessage) (int, error) {
	digits := strings.Trim(string(raw), `"`)
	if digits == "" || digits == "-1" {
		return 0, errors.New("its label is empty: a test part often keeps its answers back; take the validation part")
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0, fmt.Errorf("label %.20s is no number", raw)
	}
	return n, nil
}

// capital has a large first letter, and small ones behind it.
func capital(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToTitle(first)) + strings.ToLower(s[n:])
}

var brackets = regexp.MustCompile(`\[.*?\]`)

// hellaSwag takes the marks of its source out of a text of HellaSwag.
func hellaSwag(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), " [title]", ". ")
	return strings.ReplaceAll(brackets.ReplaceAllString(s, ""), "  ", " ")
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
