package main

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// rebuilt is the rebuilt image of a round, in the staging registry.
type rebuilt struct {
	image string // the tag, such as "app:rebuilt-1"; empty before the first rebuild
	layer int64  // the compressed size of the new layer
}

// withRebuilt runs a command with the rebuilt image of this round. The image has the same layers as
// the known image, except for the application on top.
func (p *place) withRebuilt(ctx context.Context, run func(context.Context, string) (*Sample, error)) (*Sample, error) {
	if err := p.rebuild(ctx); err != nil {
		return nil, fmt.Errorf("rebuilding the image: %w", err)
	}
	s, err := run(ctx, p.rebuilt.image)
	if err != nil {
		return nil, err
	}
	s.NewLayer = p.rebuilt.layer
	return s, nil
}

// rebuild pushes the rebuilt image of this round, unless it was pushed before. The application is
// different in each round.
func (p *place) rebuild(ctx context.Context) error {
	image := fmt.Sprintf("app:rebuilt-%d", p.round+1)
	if p.rebuilt.image == image {
		return nil
	}
	layers, err := p.image.image.Layers()
	if err != nil {
		return err
	}
	app, err := layer(application(uint64(p.round+1), p.image.Modules)) // #nosec G115 -- a round is not negative
	if err != nil {
		return err
	}
	size, err := app.Size()
	if err != nil {
		return err
	}
	img, err := stacked(append(layers[:len(layers)-1:len(layers)-1], app))
	if err != nil {
		return err
	}
	if _, err := p.staging.Push(ctx, "team/"+image, img); err != nil {
		return err
	}
	p.staging.ResetRequests()
	p.rebuilt = rebuilt{image: image, layer: size}
	return nil
}

// stacked returns an image with these layers, the lowest first.
func stacked(layers []v1.Layer) (v1.Image, error) {
	base, err := emptyImage()
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(base, layers...)
}
