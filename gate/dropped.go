package gate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	logger "github.com/anchore/go-logger"
	"github.com/anchore/go-logger/adapter/discard"
	"github.com/anchore/stereoscope/pkg/file"
	"github.com/anchore/stereoscope/pkg/filetree"
	"github.com/anchore/stereoscope/pkg/image"
	"github.com/anchore/syft/syft"

	"github.com/imagegate/imagegate/gate/layers"
	"github.com/imagegate/imagegate/policy"
)

// syft skips an archive inside an archive that it could not read, with all packages that it had
// already found in there, and says so only in its log
// (syft/pkg/cataloger/java/archive_parser.go, discoverPkgsFromOpeners). This file reads the log:
// a skipped archive becomes an unknown, or an error if the archive is not at fault.

// droppedMessage is what syft logs.
const droppedMessage = "unable to discover java packages from opener"

// droppedArchive is one such archive.
type droppedArchive struct {
	path   string // of the file in the image; inside it, separated by colons
	reason string // in syft's words
}

// dropped has those of all catalogs of the process that are under way, as syft has one log.
var dropped struct {
	once     sync.Once
	mu       sync.Mutex
	active   int
	archives []droppedArchive
}

// watchDropped returns a function that returns what was skipped since.
func watchDropped() (stop func() []droppedArchive) {
	dropped.once.Do(func() { syft.SetLogger(syftLog{discard.New()}) })
	dropped.mu.Lock()
	defer dropped.mu.Unlock()
	dropped.active++
	from := len(dropped.archives)
	return func() []droppedArchive {
		dropped.mu.Lock()
		defer dropped.mu.Unlock()
		out := slices.Clone(dropped.archives[from:])
		if dropped.active--; dropped.active == 0 {
			dropped.archives = nil
		}
		return out
	}
}

// droppedUnknowns are the skipped archives of one image, sorted. The error is that an archive was
// skipped because of this machine or of syft's own limit: the image cannot be judged then.
func droppedUnknowns(all []droppedArchive, img *image.Image) ([]policy.Unknown, error) {
	var out []policy.Unknown
	for _, d := range all {
		for _, fault := range machineFaults {
			if strings.Contains(d.reason, fault.Error()) {
				return nil, fmt.Errorf("this machine could not unpack an archive in %q: %w", d.path, fault)
			}
		}
		if strings.Contains(d.reason, "zip read limit hit") {
			return nil, fmt.Errorf("%w: an archive in %q has more than 2 GiB", layers.ErrTooLarge, d.path)
		}
		// A catalog of another image may be under way in this process.
		outer, _, _ := strings.Cut(d.path, ":")
		if there, _, err := img.SquashedTree().File(file.Path(outer), filetree.FollowBasenameLinks); err == nil && !there {
			continue
		}
		out = append(out, policy.Unknown{Location: policy.Location{Path: d.path}, Cataloger: "java-archive-cataloger",
			Reason: "an archive inside an archive could not be read, and packages in it are not listed"})
	}
	slices.SortFunc(out, func(a, b policy.Unknown) int { return strings.Compare(a.Path, b.Path) })
	return slices.Compact(out), nil
}

// nestedName is the name of the skipped archive in syft's error.
var nestedName = regexp.MustCompile(`^unable to process nested java archive \(([^()]*)\)`)

func noteDropped(fields []any) {
	var d droppedArchive
	for i := 0; i+1 < len(fields); i += 2 {
		switch fields[i] {
		case "location":
			d.path = fmt.Sprint(fields[i+1])
		case "error":
			d.reason = fmt.Sprint(fields[i+1])
		}
	}
	// Most jars inside others hold classes only, and syft calls that an error too.
	if strings.HasSuffix(d.reason, "no package identified in archive") && strings.Count(d.reason, "\n") == 0 {
		return
	}
	if m := nestedName.FindStringSubmatch(d.reason); m != nil {
		d.path += ":" + m[1]
	}
	dropped.mu.Lock()
	defer dropped.mu.Unlock()
	if dropped.active > 0 {
		dropped.archives = append(dropped.archives, d)
	}
}

// syftLog discards everything but that message.
type syftLog struct{ logger.Logger }

// WithFields keeps the fields for the message that follows.
func (l syftLog) WithFields(fields ...any) logger.MessageLogger {
	return syftMessage{l.Logger, fields}
}

// Nested is the same log.
func (l syftLog) Nested(...any) logger.Logger { return l }

type syftMessage struct {
	logger.MessageLogger
	fields []any
}

// Debug looks at the message and discards it.
func (m syftMessage) Debug(args ...any) {
	if fmt.Sprint(args...) == droppedMessage {
		noteDropped(m.fields)
	}
}
