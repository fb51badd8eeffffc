"""How every chart looks and is kept: colours, fonts, names, widths of columns, bytes, interactive pages."""
