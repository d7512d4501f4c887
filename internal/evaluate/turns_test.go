package evaluate

import (
	"strings"
	"testing"

	"gimbal/internal/judge"
)

// TestPromptsAreTurns wants of a run on conversations prompts that are everything before an answer, and as human text
// the answer alone. In a context without room for that, a prompt keeps its end.
func TestPromptsAreTurns(t *testing.T) {
	const question = "how many? "
	const begin, end = "user\n" + question, question + "\nassistant\n" // the marks are special tokens
	for _, context := range []int{200, 50} {
		text := openText(t, chats(t, 60), 0.3)
		f := newFake(t, text)
		f.context = context
		opt := options(f, text)
		opt.Samples = judge.PlanFor(6, 3, 12, context-1)
		w, err := New(opt).Write(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(w.Texts) != 18 || w.Report.Counted == 0 {
			t.Fatalf("context %d: %d texts, %+v", context, len(w.Texts), w.Plan)
		}
		long := 0
		for _, s := range w.Texts {
			if strings.Count(s.Prompt, question) > 1 {
				long++
			}
			if !strings.HasSuffix(s.Prompt, end) || strings.HasPrefix(s.Prompt, begin) != (context == 200) {
				t.Errorf("context %d: prompt %q", context, s.Prompt)
			}
		}
		if context == 200 && long == 0 {
			t.Error("all prompts are short")
		}
		if w.Plan.PromptTokens+w.Plan.MaxTokens > context || w.Plan.MaxTokens < 1 {
			t.Errorf("context %d: %+v", context, w.Plan)
		}
	}
}
