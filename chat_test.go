package gimbal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
)

// openChat opens the model of openRandom with a chat template.
func openChat(t *testing.T, template string) *Model {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(saveRandom(t, 256))); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, checkpoint.ManifestFile)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"chat_template.jinja": template,
		"tokenizer_config.json": `{"eos_token": "<|endoftext|>"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return openSaved(t, dir, "")
}

// A conversation is read as the template writes it. Text of a message is never a special token.
func TestConversation(t *testing.T) {
	m := openChat(t,
		`{% for m in messages %}[{{ m.role }}] {{ m.content }}{% if m.role == "assistant" %}{{ eos_token }}`+
			`{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}`)
	if m.Info().Chat == "" {
		t.Fatalf("it knows no conversations: %v", m.Info().Notes)
	}
	ids, err := m.conversation([]Message{{"system", "Be kind."}, {"user", "Hi <|endoftext|>"}, {"assistant", "Ho"},
		{"user", "More"}})
	if err != nil {
		t.Fatal(err)
	}
	end := m.tok.EOS()
	text := string(m.tok.Decode(nil, ids))
	if want := "[system] Be kind.[user] Hi <|endoftext|>[assistant] Ho"; !strings.HasPrefix(text, want) {
		t.Errorf("read %q, want %q", text, want)
	}
	ends := 0
	for i, id := range ids {
		if id == end {
			ends++
			if before := string(m.tok.Decode(nil, ids[:i])); !strings.HasSuffix(before, "] Ho") {
				t.Errorf("an end after %q", before)
			}
		}
	}
	if ends != 1 {
		t.Errorf("%d ends in %q", ends, text)
	}
	var first strings.Builder
	for token, err := range m.Chat(t.Context(), []Message{{"user", "Hi"}}, GenerateOptions{MaxTokens: 20, Samples: 3}) {
		if err != nil || token.Sample != 0 {
			t.Fatal(token.Sample, err)
		}
		first.WriteString(token.Text)
	}
	if first.Len() == 0 {
		t.Error("it says nothing")
	}
}

// A template that cannot be used is noted. A model without one refuses conversations, and continues text.
func TestNoConversation(t *testing.T) {
	for _, m := range []*Model{openRandom(t, 64), openChat(t, "{{ undefined_function() }}"), openChat(t, "{% for %}")} {
		for _, err := range m.Chat(t.Context(), []Message{{"user", "Hi"}}, GenerateOptions{}) {
			var fault *DataError
			if !errors.As(err, &fault) {
				t.Errorf("%v", err)
			}
		}
		if texts, err := m.Generate(t.Context(), "Hi", GenerateOptions{MaxTokens: 5}); err != nil || len(texts) != 1 {
			t.Errorf("%v, %v", texts, err)
		}
	}
	if notes := openChat(t, "{% for %}").Info().Notes; len(notes) == 0 || !strings.Contains(notes[len(notes)-1],
		"chat_template") {
		t.Errorf("it is not told why: %v", notes)
	}
	refuses := openChat(t, `{% if messages[0].role == "system" %}{{ raise_exception("no system here") }}{% endif %}`+
		`{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}`)
	for _, err := range refuses.Chat(t.Context(), []Message{{"system", "x"}, {"user", "Hi"}}, GenerateOptions{}) {
		if err == nil || !strings.Contains(err.Error(), "no system here") {
			t.Errorf("refused: %v", err)
		}
	}
}

// A role that no conversation is trained with is refused.
func TestUnknownRole(t *testing.T) {
	m := openChat(t, `{% for m in messages %}{{ m.role + m.content + eos_token }}{% endfor %}`)
	for _, role := range []string{"", "User", "bot"} {
		for _, err := range m.Chat(t.Context(), []Message{{role, "Hi"}}, GenerateOptions{MaxTokens: 1}) {
			if fault := new(DataError); !errors.As(err, &fault) || !strings.Contains(err.Error(), "is none of system, user") {
				t.Errorf("%q: %v", role, err)
			}
		}
	}
}

// A message that the template has no place for is refused: the answer would be one to something else.
func TestLostMessage(t *testing.T) {
	m := openChat(t, `{% for m in messages %}{% if m.role != "system" %}{{ m.role + m.content + eos_token }}{% endif %}`+
		`{% endfor %}`)
	for _, turns := range [][]Message{{{"user", "Hi"}}, {{"system", "Be brief."}, {"user", "Hi"}}} {
		for _, err := range m.Chat(t.Context(), turns, GenerateOptions{MaxTokens: 1}) {
			var fault *DataError
			lost := errors.As(err, &fault) && strings.Contains(err.Error(), "leaves out a message of the system")
			if lost != (len(turns) == 2) || !lost && err != nil {
				t.Errorf("%v: %v", turns, err)
			}
		}
	}
}

// A conversation that is kept between turns goes on with the text of one that is read anew, whatever the template
// changes of what stood before, and in every format of the weights.
func TestKeptConversation(t *testing.T) {
	templates := map[string]string{
		"goes on": `{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ eos_token }}{% endfor %}[assistant] `,
		"changes": `{% for m in messages %}{% if loop.last %}LAST {% endif %}[{{ m.role }}] {{ m.content }}` +
			`{{ eos_token }}{% endfor %}[assistant] `,
	}
	for name, template := range templates {
		dir := openChat(t, template).Info().Path
		for _, weights := range []string{"fp32", "bf16", "int8"} {
			m := openSaved(t, dir, weights)
			var turns []Message
			for turn := range 4 {
				turns = append(turns, Message{"user", strings.Repeat("more ", turn+1)})
				var said [2]strings.Builder
				for i := range said {
					if i == 1 && m.kept == nil {
						t.Fatal("nothing is kept")
					}
					for token, err := range m.Chat(t.Context(), turns,
						GenerateOptions{MaxTokens: 5 + 9*turn, Keep: i == 0}) {
						if err != nil {
							t.Fatal(err)
						}
						said[i].WriteString(token.Text)
						if i == 0 && turn == 2 && said[i].Len() > 8 {
							break // as an interrupt does
						}
					}
				}
				if a, b := said[0].String(), said[1].String(); a != b && (turn != 2 || !strings.HasPrefix(b, a)) {
					t.Errorf("%s, %s, turn %d: %q, read anew %q", name, weights, turn, a, b)
				}
				turns = append(turns, Message{"assistant", said[0].String()})
			}
		}
	}
}
