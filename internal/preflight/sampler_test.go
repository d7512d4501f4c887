package preflight

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// In a short epoch of conversations, sequences in which nothing counts are passed over, and a batch goes on with the
// next epoch before as many sequences have come: that is no repetition.
func TestSamplerOfAShortEpoch(t *testing.T) {
	for n := 1; n <= 6; n++ {
		var lines strings.Builder
		for i := range n {
			question := strings.Repeat(fmt.Sprintf("what of %d? ", i), 12)
			fmt.Fprintf(&lines, `{"messages":[{"role":"user","content":%q},{"role":"assistant","content":"so it is %d"}]}`+"\n",
				question, i)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "c.jsonl"), []byte(lines.String()), 0o666); err != nil {
			t.Fatal(err)
		}
		c := checked(t, runOf(t, tiny(t, dir, "train.context=16", "train.batch_tokens=48", "train.micro_tokens=48",
			"data.val_fraction=0.05")))
		if f := c.checkSampler(context.Background()); f.Result != resultOK {
			t.Errorf("%d conversations: %s: %s", n, f.Result, f.Message)
		}
	}
}
