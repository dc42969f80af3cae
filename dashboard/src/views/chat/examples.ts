/** Passages to begin with: they go into the field, and nothing is sent until the reader sends it. */

export interface Example {
  name: string;
  text: string;
}

export const examples: readonly Example[] = [
  {
    name: "A verse",
    text: "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate:\nRough winds do shake the darling buds of May,\nAnd summer's lease hath all too short a date;",
  },
  {
    name: "Names it cannot know",
    text: "Brindlewick kept the lighthouse at Osmary Point, and Tavish Orlo kept the ferry. When Brindlewick lit the lamp, Tavish Orlo rang the bell; when Tavish Orlo rang the bell, all of Osmary Point knew that Brindlewick had lit the lamp. ",
  },
  {
    name: "Python",
    text: "def area(width, height):\n    return width * height\n\ndef volume(width, height, depth):\n    return area(width, height) * depth\n\ndef surface(width, height, depth):\n    return 2 * (",
  },
];
