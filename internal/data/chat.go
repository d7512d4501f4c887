package data

import "gimbal/internal/chat"

// RoleTokens are the special tokens that a tokenizer made here for conversations has.
var RoleTokens = chat.RoleTokens

// ChatTemplate returns the Jinja template with which conversations of the set were written, "" if it has none.
func (s *Set) ChatTemplate() string {
	if s.census.Conversations == 0 {
		return ""
	}
	start := ""
	if s.hasStart {
		start = s.tok.Name(s.start)
	}
	return s.format.Template(start)
}

// ChatNote says in a sentence how the roles of conversations are marked, "" if there are none.
func (s *Set) ChatNote() string {
	if s.census.Conversations == 0 {
		return ""
	}
	return s.format.Note()
}

// TurnEnds returns the special tokens, beside the EOS, that end what the assistant says: none for a set without
// conversations.
func (s *Set) TurnEnds() (ends []int32) {
	if s.census.Conversations == 0 {
		return nil
	}
	for _, id := range s.format.TurnEnds() {
		if id != s.tok.EOS() {
			ends = append(ends, id)
		}
	}
	return ends
}
