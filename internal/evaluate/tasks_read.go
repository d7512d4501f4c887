package evaluate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gimbal/internal/bom"
	"gimbal/internal/data"
)

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
		line := lines.Bytes()
		if n == 1 {
			line = bom.Drop(line)
		}
		line = bytes.TrimSpace(line)
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
		i.Context = strings.TrimRight(*raw.Context, " ") // the delimiter is the one space between
		if err = json.Unmarshal(raw.Choices, &i.Choices); err == nil {
			i.Gold, err = label(raw.Label)
		}
		for k, choice := range i.Choices {
			i.Choices[k] = strings.TrimLeft(choice, " ")
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
		switch {
		case len(c.Text) != len(c.Label):
			err = errors.New("there are not as many labels as choices")
		case len(slices.Compact(slices.Sorted(slices.Values(c.Label)))) < len(c.Label):
			err = errors.New("two choices have the same label")
		}
		i.Context, i.Choices, i.Gold = asked(question), c.Text, slices.Index(c.Label, raw.Key)
	case inWords && raw.Answer != nil && raw.Choices == nil:
		i.Context = asked(question)
		if i.Answer, err = written(raw.Answer); err == nil {
			err = wholeQuestion(line)
		}
		return i, err
	default:
		err = unknown(line)
	}
	switch n := len(i.Choices); {
	case err != nil:
	case n < 2 || n > taskChoices || slices.ContainsFunc(i.Choices, blank):
		err = fmt.Errorf("it has %d choices, or an empty one", n)
	case i.Gold < 0 || i.Gold >= n:
		err = fmt.Errorf("the right answer is none of the %d choices", n)
	default: // of equal choices the first is chosen
		i.Gold = slices.Index(i.Choices, i.Choices[i.Gold])
	}
	return i, err
}

func blank(text string) bool { return strings.TrimSpace(text) == "" }

// errHeldBack says why there may be no right answer.
var errHeldBack = errors.New("its answer is empty: a test part often keeps its answers back; take the validation part")

// written reads an answer in words: a string, or a number or a truth as it is spelled.
func written(raw json.RawMessage) (answer string, err error) {
	if json.Unmarshal(raw, &answer) != nil {
		answer = string(raw)
	}
	switch {
	case blank(answer):
		return "", errHeldBack
	case raw[0] == '[' || raw[0] == '{':
		return "", fmt.Errorf("its answer is %.60s: write one text", raw)
	}
	return answer, nil
}

// besides are fields of a question that say more of it.
var besides = []string{"choices", "options", "context", "passage", "input", "support", "background"}

// wholeQuestion refuses a question in words with other fields that the model would not be shown.
func wholeQuestion(line []byte) error {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(line, &fields) // it was read before
	for _, name := range besides {
		switch string(fields[name]) {
		case "", "null", `""`, "[]", "{}":
		default:
			return fmt.Errorf("the model would not be shown its %q: write it into the question", name)
		}
	}
	return nil
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
	if digits == "" || digits == "-1" || digits == "null" {
		return 0, errHeldBack
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
