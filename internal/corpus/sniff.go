package corpus

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"

	"gimbal/internal/bom"
	"gimbal/internal/sniff"
)

const (
	sniffBytes  = 8 << 10 // how much of a file is looked at to tell text from binary
	sniffPacked = 1 << 20 // how much of a packed file is unpacked to estimate the rest
)

// sniff finds out what a file is, by its content: kind, packing and encoding. It says why it is not text, and
// estimates the size of the text in a packed file.
func (s *Source) sniff(opt Options) (reason string, err error) {
	name, named := cutPack(strings.ToLower(filepath.Base(s.Path)))
	if _, again := cutPack(name); again != 0 {
		return "", packedTwice(s.Path)
	}
	ending := filepath.Ext(name)
	head, err := s.head()
	if err != nil {
		return "", err
	}
	found := packOf(head)
	if s.pack = named; named == 0 {
		s.pack = found
	}
	switch {
	case found != 0 && (ending == ".tar" || ending == ".tgz"):
		return sniff.Archive, nil
	case sniff.Kind(head, s.Size) == sniff.LFSPointer: // it has the name of what it stands for
		return sniff.LFSPointer, nil
	case ending == ".parquet":
		s.kind = table
		if s.pack != 0 {
			return "", &Error{Path: s.Path, What: "a packed Parquet file",
				Advice: "unpack it: Parquet packs its columns itself"}
		}
		return "", s.lookAtTable(opt)
	case ending == ".jsonl" || ending == ".ndjson":
		s.kind = jsonl
	}
	return s.sniffText(head, opt)
}

// head returns the first bytes of the file as it is.
func (s *Source) head() ([]byte, error) {
	plain := Source{Path: s.Path}
	r, err := plain.unpack(context.Background(), nil)
	if err != nil {
		return nil, err
	}
	defer r.close()
	head := make([]byte, sniffBytes)
	n, err := io.ReadFull(r, head)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return head[:n], err
}

// sniffText looks at the text, of which the file begins with head.
func (s *Source) sniffText(head []byte, opt Options) (reason string, err error) {
	br := bufio.NewReaderSize(bytes.NewReader(head), sniffBytes)
	if s.pack != 0 || s.kind == jsonl { // more of it is wanted
		r, err := s.unpack(context.Background(), nil)
		if err != nil {
			return "", err
		}
		defer r.close()
		br = bufio.NewReaderSize(r, sniffPacked)
		if s.pack != 0 {
			if head, err = br.Peek(sniffPacked); err != nil && err != io.EOF {
				return "", err
			}
			s.Text = r.estimate(int64(len(head)), err == io.EOF)
		}
	}
	if s.pack != 0 && packOf(head) != 0 {
		return "", packedTwice(s.Path)
	}
	head = head[:min(len(head), sniffBytes)]
	s.chooseEncoding(head, opt)
	kind := sniff.Kind(head, s.Text)
	if isPrinted(head) {
		kind = ownOutput
	}
	if d := sniff.Decoder(s.Encoding); d != nil && !(sniff.LooksUTF8(head) && !s.marked) {
		br = bufio.NewReaderSize(d.Reader(br), sniffBytes)
		if head, err = br.Peek(sniffBytes); err != nil && err != io.EOF {
			return "", err
		}
		if sniff.Wide(kind) { // the encoding may have NUL bytes
			kind = ""
		}
		if kind == "" && bytes.IndexByte(head, 0) >= 0 {
			kind = sniff.Binary
		}
	}
	if kind != "" {
		return kind, nil
	}
	return s.recognise(br, opt)
}

// chooseEncoding decides what the text is decoded from: what its byte order mark says, else what the options say.
func (s *Source) chooseEncoding(head []byte, opt Options) {
	mark, _ := bom.Find(head)
	switch {
	case mark == "utf-8":
		s.marked = true
	case mark != "":
		s.marked, s.Encoding = true, mark
	case sniff.Decoder(opt.encoding()) != nil:
		s.Encoding = opt.encoding()
	}
}

func packedTwice(path string) error {
	return &Error{Path: path, What: "packed twice", Advice: "unpack it once"}
}
