package catalog

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
	"github.com/imagegate/imagegate/policy/evidence"
)

// If syft cannot read an archive inside another archive, it skips the outer archive and drops the
// packages already found in it. syft reports this only in its log
// (syft/pkg/cataloger/java/archive_parser.go, discoverPkgsFromOpeners). This file reads the log. A
// skipped archive becomes an unknown, or an error if this machine or a limit of syft is the cause.

// droppedMessage is the message that syft logs when it skips an archive.
const droppedMessage = "unable to discover java packages from opener"

// droppedArchive is an archive that syft skipped.
type droppedArchive struct {
	path   string // path of the file in the image, then the paths inside that file, separated by colons
	reason string // syft's error text
}

// dropped collects the archives that syft skipped, for all catalogs that run at the same time,
// because syft has one log per process.
var dropped struct {
	once     sync.Once
	mu       sync.Mutex
	active   int
	archives []droppedArchive
}

// watchDropped starts to record the archives that syft skips. stop ends the recording and returns
// the archives that syft skipped since watchDropped was called.
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

// droppedUnknowns returns the skipped archives of one image, sorted. It returns an error if this
// machine or a limit of syft caused a skip, because the image cannot be evaluated then.
func droppedUnknowns(all []droppedArchive, img *image.Image) ([]evidence.Unknown, error) {
	var out []evidence.Unknown
	for _, d := range all {
		for _, fault := range machineFaults {
			if strings.Contains(d.reason, fault.Error()) {
				return nil, fmt.Errorf("this machine could not unpack an archive in %q: %w", d.path, fault)
			}
		}
		if strings.Contains(d.reason, "zip read limit hit") {
			return nil, fmt.Errorf("%w: an archive in %q is larger than 2 GiB", layers.ErrTooLarge, d.path)
		}
		// Ignore the skipped archives of other images that this process catalogs at the same time.
		outer, _, _ := strings.Cut(d.path, ":")
		if there, _, err := img.SquashedTree().File(file.Path(outer), filetree.FollowBasenameLinks); err == nil && !there {
			continue
		}
		out = append(out, evidence.Unknown{Location: evidence.Location{Path: d.path}, Cataloger: "java-archive-cataloger",
			Reason: "a nested archive could not be read; packages in it are not listed"})
	}
	slices.SortFunc(out, func(a, b evidence.Unknown) int { return strings.Compare(a.Path, b.Path) })
	return slices.Compact(out), nil
}

// nestedName matches the name of the skipped archive in syft's error.
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
	// Ignore nested jars without packages. syft reports them as an error, but most jars inside
	// other jars contain only classes.
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

// syftLog discards all messages except droppedMessage.
type syftLog struct{ logger.Logger }

// WithFields returns a logger that keeps the fields for the next message.
func (l syftLog) WithFields(fields ...any) logger.MessageLogger {
	return syftMessage{l.Logger, fields}
}

// Nested returns the same logger.
func (l syftLog) Nested(...any) logger.Logger { return l }

type syftMessage struct {
	logger.MessageLogger
	fields []any
}

// Debug records the fields of droppedMessage, and discards the message.
func (m syftMessage) Debug(args ...any) {
	if fmt.Sprint(args...) == droppedMessage {
		noteDropped(m.fields)
	}
}
