/** Line icons on a 16-unit grid, drawn with the text's colour. */
import type { ReactNode } from "react";

function icon(paths: ReactNode) {
  return function Icon({ size = 16 }: { size?: number }) {
    return (
      <svg
        width={size}
        height={size}
        viewBox="0 0 16 16"
        fill="none"
        stroke="currentColor"
        strokeWidth="1.5"
        strokeLinecap="round"
        strokeLinejoin="round"
        aria-hidden="true"
        focusable="false"
      >
        {paths}
      </svg>
    );
  };
}

export const Sun = icon(
  <>
    <circle cx="8" cy="8" r="2.8" />
    <path d="M8 1.5v1.2M8 13.3v1.2M1.5 8h1.2M13.3 8h1.2M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9" />
  </>,
);
export const Moon = icon(<path d="M13.3 9.6A5.8 5.8 0 0 1 6.4 2.7a5.8 5.8 0 1 0 6.9 6.9Z" />);
export const Plus = icon(<path d="M8 3v10M3 8h10" />);
export const Fork = icon(
  <>
    <circle cx="4" cy="3.2" r="1.5" />
    <circle cx="12" cy="3.2" r="1.5" />
    <circle cx="8" cy="12.8" r="1.5" />
    <path d="M4 4.7c0 3.3 4 3 4 6.6M12 4.7c0 3.3-4 3-4 6.6" />
  </>,
);
export const Reset = icon(<path d="M3 3v3.2h3.2M3.2 6.2A5.3 5.3 0 1 1 2.7 9" />);
export const Undo = icon(<path d="M6 3 2.8 6.2 6 9.4M3 6.2h6.4a3.4 3.4 0 0 1 0 6.8H6.5" />);
export const Question = icon(
  <>
    <circle cx="7" cy="7" r="4.5" />
    <path d="m10.3 10.3 3.2 3.2M7 5.2v1.9M7 8.9v.1" />
  </>,
);
export const Log = icon(
  <>
    <circle cx="4" cy="3.5" r="1.4" />
    <circle cx="4" cy="12.5" r="1.4" />
    <path d="M4 4.9v6.2M8 3.5h5.5M8 8h5.5M8 12.5h5.5" />
  </>,
);
export const Sliders = icon(
  <>
    <path d="M2.5 5h5M11.5 5h2M2.5 11h2M8.5 11h5" />
    <circle cx="9.5" cy="5" r="1.8" />
    <circle cx="6.5" cy="11" r="1.8" />
  </>,
);
export const Chevron = icon(<path d="m6 4 4 4-4 4" />);
export const Send = icon(<path d="M8 13V3.5M3.8 7.5 8 3.3l4.2 4.2" />);
export const Stop = icon(<rect x="4" y="4" width="8" height="8" rx="1" fill="currentColor" stroke="none" />);
export const Play = icon(<path d="M5 3.2v9.6L12.6 8Z" fill="currentColor" stroke="none" />);
export const Menu = icon(<path d="M2.5 4h11M2.5 8h11M2.5 12h11" />);
export const Talk = icon(<path d="M2.5 3.5h11v7.5H7.2L4.3 13.3V11H2.5Z" />);
export const Keys = icon(<path d="M5.9 6a2.1 2.1 0 1 1 3.2 1.8c-.7.4-1.1.8-1.1 1.6M8 12.3v.1" />);
export const File = icon(<path d="M3.5 1.8h5.3l3.7 3.7v8.7h-9ZM8.6 1.8v3.9h3.9" />);
export const Save = icon(<path d="M8 2.5v7.4M4.8 6.9 8 10.1l3.2-3.2M3 13.3h10" />);
export const Overlay = icon(<path d="M2 11.5c2.4-7.5 4-7.5 6-3s3.8 4 6-3.5M2 13.8h12" />);
export const Minus = icon(<path d="M3 8h10" />);
export const Fit = icon(<path d="M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10" />);
export const Tag = icon(
  <>
    <path d="M2.5 2.5h5.3l5.7 5.7-5.3 5.3-5.7-5.7Z" />
    <circle cx="5.4" cy="5.4" r="0.9" />
  </>,
);
export const Check = icon(<path d="m3 8.6 3.2 3.2L13 4.6" />);
export const Close = icon(<path d="m4 4 8 8M12 4l-8 8" />);
export const Pause = icon(<path d="M5.2 3.2v9.6M10.8 3.2v9.6" strokeWidth="2.6" />);
export const Back = icon(<path d="M12 3.5 6 8l6 4.5ZM4 3.5v9" />);
export const Forth = icon(<path d="m4 3.5 6 4.5-6 4.5ZM12 3.5v9" />);
