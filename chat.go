package gimbal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"gimbal/internal/chat"
	"gimbal/internal/hub"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"`    // "system", "user", "assistant" or "tool"
	Content string `json:"content"` // what was said
}

// Chat writes the assistant's answer to a conversation, token by token as [Model.Stream] does. The conversation is
// written as the model's own chat template writes it, or else as conversations are trained; text of a message never
// becomes a special token. GenerateOptions.Samples and Special say nothing.
//
// Errors are those of [Model.Generate]. A model without [ModelInfo].Chat has none to write: that is a [DataError], and
// so is a conversation that the template refuses, or of which it leaves out a message.
func (m *Model) Chat(ctx context.Context, messages []Message, opt GenerateOptions) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		if m.format == nil {
			yield(Token{},
				&DataError{Err: errors.New("this model was not trained on conversations: let it continue text")})
			return
		}
		ids, err := m.conversation(messages)
		if err != nil {
			yield(Token{}, &DataError{Err: fmt.Errorf("conversation: %w", err)})
			return
		}
		opt.Samples = 1
		if m.stop != "" {
			opt.Stop = append(opt.Stop[:len(opt.Stop):len(opt.Stop)], m.stop)
		}
		for t, err := range m.stream(ctx, ids, m.ends, opt) {
			if !yield(t, err) {
				return
			}
		}
	}
}

// converse finds out how the model's conversations are written. A template that cannot be used is a note: the model can
// still continue text.
func (m *Model) converse(c *hub.Model) {
	format, err := c.Format()
	switch {
	case err != nil:
		m.info.Notes = append(m.info.Notes, err.Error())
	case format != nil:
		m.format, m.info.Chat = format, format.Note()
		m.ends = append(m.tok.Ends(), format.TurnEnds()...)
		if own, ok := format.(*chat.Template); ok {
			m.stop = own.Stop()
		}
	}
}

// conversation is what a model reads of a conversation before it answers.
func (m *Model) conversation(messages []Message) (ids []int32, err error) {
	c := chat.Conversation{}
	for _, turn := range messages {
		if !slices.Contains(chat.Roles, turn.Role) {
			return nil, fmt.Errorf("the role %q is none of %s", turn.Role, strings.Join(chat.Roles, ", "))
		}
		c.Messages = append(c.Messages, chat.Message{Role: turn.Role, Text: []byte(turn.Content)})
	}
	if _, own := m.format.(*chat.Template); !own { // which writes its own start
		ids = append(ids, m.start)
	}
	ids, err = chat.Encode(ids, m.tok, m.format.Prompt(&c))
	for _, role := range c.Lost {
		if err == nil && role != chat.Assistant { // of whose words a template may leave out thoughts
			err = fmt.Errorf("the model's chat template leaves out a message of the %s", role)
		}
	}
	return ids, err
}
