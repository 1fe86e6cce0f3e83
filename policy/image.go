package policy

import (
	"fmt"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/builtin"
	"github.com/imagegate/imagegate/policy/internal/image"
	"github.com/imagegate/imagegate/policy/internal/order"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

// ImageRule is a rule about how an image is built: its configuration, size, layers and base. Set
// exactly one condition. Every platform must meet the condition. Example: "image: [{name: a user of
// its own, notRoot: true}]".
//
// Each rule has a name, so that exceptions and overrides can refer to the rule. Two rules can have
// the same condition with different values, for example to warn early and to block late.
type ImageRule struct {
	// Name identifies the rule in exceptions. Mandatory, unique among all rules of the policy.
	// Example: "name: not as root".
	Name     string   `json:"name"`
	Position Position `json:"position"`
	// Effect sets what happens to an image that does not meet the condition. Default: block. If the
	// evidence lacks the configuration, size or layers that the rule needs, the rule blocks
	// whatever its effect. Example: "effect: warn".
	Effect Effect `json:"effect"`
	// NotRoot requires a user other than root. An image runs as root if it names no user, or the
	// user root or 0 with any group. imagegate does not read the user list in the image, so it does
	// not detect another name for root. The only value is true. Example: "notRoot: true".
	NotRoot bool `json:"notRoot,omitempty"`
	// NoSecrets requires that variables, labels and history contain no credentials. Credentials are
	// values of a known form, such as tokens and private keys, passwords in URLs, and values under
	// names such as DB_PASSWORD. Public keys, key IDs, checksums, paths, references such as ${VAR},
	// and placeholders such as "changeme" are not credentials. The only value is true. Example:
	// "noSecrets: true".
	NoSecrets bool `json:"noSecrets,omitempty"`
	// Labels lists the required labels. "name" requires a label with a value that is not blank.
	// "name=pattern" requires a value that matches the pattern; "*" matches any characters.
	// Example: "labels: [org.opencontainers.image.source=https://git.example/*]".
	Labels []string `json:"labels,omitempty"`
	// Ports lists the only ports that the image may expose. An entry is a port, or a range such as
	// 8000-8999, followed by /tcp, /udp or /sctp. Default protocol: tcp. An empty list allows no
	// port. Example: "ports: [8080/tcp, 8000-8999/udp]".
	Ports []string `json:"ports,omitzero"`
	// MaxAge limits the age of the image, by the creation date in its configuration. An image
	// without a date, or with a date in the future, violates the rule. Example: "maxAge: 90d".
	MaxAge time.Duration `json:"maxAge,omitempty"`
	// MaxSize limits the download size of the image: the configuration and the compressed layers.
	// Example: "maxSize: 500MB".
	MaxSize ByteSize `json:"maxSize,omitempty"`
	// MaxLayers limits the number of layers. Example: "maxLayers: 40".
	MaxLayers int `json:"maxLayers,omitempty"`
	// Base requires a base image whose name or digest matches one of these patterns; "*" matches
	// any characters. A name is compared both as written and in canonical form, see Scope.
	// imagegate takes the base from the image and does not verify it. An image that does not name
	// its base violates the rule. Example: "base: [registry.example/base/*]".
	Base []string `json:"base,omitempty"`
	// NotLatest requires an image reference with a tag other than "latest", or with a digest and no
	// tag. The only value is true. Example: "notLatest: true".
	NotLatest bool `json:"notLatest,omitempty"`
}

func (d *decoder) image(to *[]ImageRule, lines map[string]int) strict.Reader {
	return d.List(strict.MaxItems, func(n *yaml.Node) {
		const what = "a rule about the image"
		r := ImageRule{Position: d.position(n)}
		fields := []strict.Field{
			strict.Optional("notRoot", d.Yes(&r.NotRoot)),
			strict.Optional("noSecrets", d.Yes(&r.NoSecrets)),
			strict.Optional("labels", d.Texts(&r.Labels, image.CheckLabel, "list at least one label")),
			strict.Optional("ports", d.ports(&r.Ports)),
			strict.Optional("maxAge", d.Duration(&r.MaxAge)),
			strict.Optional("maxSize", strict.Scalar(d.Decoder, &r.MaxSize, "a size with a unit, such as 500MB", parseSize, "!!str")),
			strict.Optional("maxLayers", d.Positive(&r.MaxLayers)),
			strict.Optional("base", d.Texts(&r.Base, func(string) error { return nil }, "list at least one base image")),
			strict.Optional("notLatest", d.Yes(&r.NotLatest)),
		}
		conditions := make([]string, len(fields))
		for i, f := range fields {
			conditions[i] = f.Name
		}
		d.Mapping(n, what, append(fields,
			strict.Mandatory("name", d.ruleName(&r.Name, lines)),
			strict.Optional("effect", d.effect(&r.Effect)),
		)...)
		d.ExactlyOne(n, what, conditions...)
		*to = append(*to, r)
	})
}

// ports reads a list of ports. An empty list is valid and allows no port.
func (d *decoder) ports(to *[]string) strict.Reader {
	return func(key, value *yaml.Node) {
		*to = []string{}
		d.List(strict.MaxItems, func(n *yaml.Node) {
			var s string
			d.CheckedText(&s, image.CheckPorts)(key, n)
			*to = append(*to, s)
		})(key, value)
	}
}

// RuleLazyIndexes is the built-in rule that an index must not list lazy-pull indexes such as SOCI
// indexes. Nodes with lazy pulling read such an index instead of the scanned layers. With an
// exception for this rule, lazy-pull indexes are copied unchanged.
const RuleLazyIndexes = builtin.LazyIndexes

// wholeImage evaluates the rules about the image that do not depend on its platforms: the rule
// about lazy-pull indexes, and rules with notLatest.
func (e *evaluation) wholeImage() {
	about := &e.in.Image
	for _, l := range order.Sorted(about.LazyIndexes, order.CompareLazyIndexes) {
		e.reportRule(Block, Violation{
			Kind: KindImage, Rule: RuleLazyIndexes,
			Message: fmt.Sprintf("the index lists a %s index, %s: nodes with lazy pulling use its table of contents, not the layers that were scanned", l.Kind, wording.Quote(l.Digest)),
		}, nil)
	}
	for i := range e.policy.Image {
		if r := &e.policy.Image[i]; r.NotLatest && image.Floats(about.Reference) {
			e.reportRule(r.Effect, Violation{
				Kind: KindImage, Rule: r.Name, Position: r.Position, Check: "notLatest",
				Message: fmt.Sprintf(`the reference %s has the tag "latest" or no tag, so it can name a different image later`, wording.Quote(about.Reference)),
			}, nil)
		}
	}
}

func (e *evaluation) image(p *evidence.Platform) {
	for i := range e.policy.Image {
		r := &e.policy.Image[i]
		report := func(effect Effect, format string, args ...any) {
			e.reportRule(effect, Violation{
				Kind: KindImage, Rule: r.Name, Position: r.Position, Platform: p.Platform, Check: r.check(),
				Message: fmt.Sprintf(format, args...),
			}, nil)
		}
		e.evaluateImage(r, p, report)
	}
}

// check returns the key of the rule's condition, such as "notRoot".
func (r *ImageRule) check() string {
	for _, c := range []struct {
		key string
		set bool
	}{
		{"notRoot", r.NotRoot}, {"noSecrets", r.NoSecrets}, {"labels", r.Labels != nil}, {"ports", r.Ports != nil},
		{"maxAge", r.MaxAge != 0}, {"maxSize", r.MaxSize != 0}, {"maxLayers", r.MaxLayers != 0},
		{"base", r.Base != nil}, {"notLatest", r.NotLatest},
	} {
		if c.set {
			return c.key
		}
	}
	return ""
}

// evaluateImage reports how a platform's image violates the rule. Evidence that the rule needs but
// that is missing always blocks. A rule without a condition is always violated; Parse never returns
// such a rule.
func (e *evaluation) evaluateImage(r *ImageRule, p *evidence.Platform, report func(effect Effect, format string, args ...any)) {
	if p.Config == nil && (r.NotRoot || r.NoSecrets || r.Labels != nil || r.Ports != nil || r.MaxAge != 0) {
		report(Block, "the evidence has no configuration of the image, which the rule needs")
		return
	}
	switch {
	case r.NotRoot:
		switch {
		case p.Config.User == "":
			report(r.Effect, "the image runs as root: it names no user")
		case image.RunsAsRoot(p.Config.User):
			report(r.Effect, "the image runs as root: its user is %s", wording.Quote(p.Config.User))
		}
	case r.NoSecrets:
		for _, s := range order.Sorted(p.Config.Secrets, order.CompareSecrets) {
			report(r.Effect, "the image has a credential of the kind %s in %s", wording.Quote(s.Kind), wording.Quote(s.Where))
		}
	case r.Labels != nil:
		for _, label := range r.Labels {
			if fault := image.LabelFault(p.Config, label); fault != "" {
				report(r.Effect, "%s", fault)
			}
		}
	case r.Ports != nil:
		for _, port := range image.UnwantedPorts(p.Config.ExposedPorts, r.Ports) {
			report(r.Effect, "the image exposes the port %s, which the policy does not allow", wording.Quote(port))
		}
	case r.MaxAge != 0:
		if fault := e.ageFault(p.Config.Created, r.MaxAge); fault != "" {
			report(r.Effect, "%s", fault)
		}
	case r.MaxSize != 0:
		switch {
		case p.Size <= 0:
			report(Block, "the evidence has no size of the image, which the rule needs")
		case ByteSize(p.Size) > r.MaxSize:
			report(r.Effect, "the image has %d bytes, the limit is %d bytes (%v)", p.Size, int64(r.MaxSize), r.MaxSize)
		}
	case r.MaxLayers != 0:
		switch {
		case len(p.Layers) == 0 && p.Size <= 0:
			report(Block, "the evidence has no layers of the image, which the rule needs")
		case len(p.Layers) > r.MaxLayers:
			report(r.Effect, "the image has %d layers, the limit is %d", len(p.Layers), r.MaxLayers)
		}
	case r.Base != nil:
		if fault := image.BaseFault(p.Base, r.Base); fault != "" {
			report(r.Effect, "%s", fault)
		}
	case r.NotLatest: // wholeImage evaluates this condition
	default:
		report(Block, "the rule has no condition")
	}
}

// ageFault returns how the image's creation date violates the limit, or "". It also records when
// the result will change.
func (e *evaluation) ageFault(created time.Time, limit time.Duration) string {
	if created.IsZero() {
		return "it is unknown when the image was created"
	}
	trusted, stale := created.Add(-clock.Skew), created.Add(limit)
	e.changes(trusted)
	e.changes(stale)
	switch {
	case trusted.After(e.now):
		return fmt.Sprintf("the image was created on %s, which is in the future", wording.Time(created))
	case !e.now.Before(stale):
		return fmt.Sprintf("the image was created on %s and must be younger than %s", wording.Time(created), wording.Duration(limit))
	}
	return ""
}
