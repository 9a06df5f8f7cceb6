package org.rlhf4j.core.text;

/**
 * Normalizes the sections of a text as SentencePiece does.
 *
 * @param normalizer SentencePiece's rules
 * @param prefixed whether a text gets a space in front
 * @param sectionsAlone whether each section counts as a text of its own, which transformers calls
 *     legacy, or else only the first as the beginning of one
 * @param boundary the secret name of a token that only parts what stands on both of its sides and
 *     is no part of the result; null where none is needed
 */
record SentencePiecePreparation(
    SentencePieceNormalizer normalizer, boolean prefixed, boolean sectionsAlone, String boundary)
    implements Preparation {

  @Override
  public void append(PlacedText section, boolean first, PlacedText out) {
    boolean beginsText = sectionsAlone || first;
    boolean withPrefix = prefixed && beginsText;
    if (boundary == null) {
      normalizer.normalize(section, beginsText, withPrefix, out);
      return;
    }
    PlacedText normalized = new PlacedText();
    normalizer.normalize(section, beginsText, withPrefix, normalized);
    for (int i = 0; i < normalized.length(); i++) {
      out.append(normalized.codePoint(i), normalized.start(i), normalized.end(i));
      if (isByteName(normalized, i)) {
        out.append(boundary, normalized.end(i), normalized.end(i));
      }
    }
  }

  /**
   * Whether the name of a byte piece, such as {@code <0x0A>}, begins here. In a text it is six
   * characters, but the engine's unigram model would take it for the byte.
   */
  private static boolean isByteName(PlacedText text, int from) {
    return from + 6 <= text.length()
        && text.codePoint(from) == '<'
        && text.codePoint(from + 1) == '0'
        && text.codePoint(from + 2) == 'x'
        && isHexDigit(text.codePoint(from + 3))
        && isHexDigit(text.codePoint(from + 4))
        && text.codePoint(from + 5) == '>';
  }

  private static boolean isHexDigit(int codePoint) {
    return (codePoint >= '0' && codePoint <= '9') || (codePoint >= 'A' && codePoint <= 'F');
  }
}
